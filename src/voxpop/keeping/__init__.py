"""Care of a data folder: prove that a text is gone, copy it while it is used, bring it back; it answers nothing."""
