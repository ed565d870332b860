"""Five notes on back-propagation, formula by formula: what each says, and whether and why it holds."""
