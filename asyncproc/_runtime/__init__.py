"""Children of this machine: what starts them, carries their streams, watches and ends them."""
