"""What a run says: tables of `compare` and the page; computed by `analysis`, drawn here."""
