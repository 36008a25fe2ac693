"""What decides: pure rules without I/O, clock or chance. It starts nothing and waits for nothing."""
