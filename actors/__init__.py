"""Everything of larkd that runs. The floors and the edges are in ``README.md`` here."""
