"""Can `gradlab check` be trusted? Null checks, refactors and drift that must pass, planted bugs that must not."""
