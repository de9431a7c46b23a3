"""Token-level SBP on mmaction's transformers, one file per backbone family.

Importing a file registers its rules with :func:`sbp_tad.sbp.apply_sbp`.
"""
