"""Drawing what analysis decided; nothing here decides."""
