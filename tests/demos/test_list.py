"""`python -m demos` lists the demos."""

import demos.__main__ as listing


def test_every_demo_says_what_it_shows() -> None:
    summaries = listing.summaries()
    assert "main" in summaries
    assert all(summary.endswith(".") for summary in summaries.values())


def test_the_list_is_printed(capsys) -> None:
    listing.main()
    assert "python -m demos.main" in capsys.readouterr().out
