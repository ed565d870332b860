"""`python -m demos` lists the demos."""

import demos.__main__ as listing


def test_every_demo_says_what_it_shows() -> None:
    summaries = listing.summaries()
    assert {"main", "xor", "moons", "digits", "autoencoder", "cliff", "learning_rates", "one_neuron", "notes"} <= set(
        summaries
    )
    assert all(len(summary) > 40 and summary.endswith(".") for summary in summaries.values())


def test_what_no_one_runs_is_not_listed() -> None:
    """Modules whose names begin with an underscore, and folders without a `__main__`."""
    assert not any(name.startswith("_") for name in listing.summaries())
    assert not {"data", "pictures"} & set(listing.summaries())


def test_the_list_is_printed(capsys) -> None:
    """In two columns: the command, and what it shows."""
    listing.main()
    lines = capsys.readouterr().out.splitlines()
    summaries = listing.summaries()
    assert [line.split()[2] for line in lines] == [f"demos.{name}" for name in sorted(summaries)]
    assert len({line.index(summary) for line, summary in zip(lines, summaries.values(), strict=True)}) == 1
