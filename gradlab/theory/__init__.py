"""Mean-field predictions for wide networks; numpy only."""
