"""Everything of larkd that runs. The layers and the edges are in ``README.md`` here."""
