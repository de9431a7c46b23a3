"""Names of the strategies that code outside their own files asks for, ``mode`` of SBPBackbone."""

TOKEN_MODE = 'token'
# Forms of stochastic backpropagation; their keep ratio can be planned from a memory budget.
STOCHASTIC_MODES = ('direct', 'deferred', TOKEN_MODE)
# Modes without a keep ratio whose memory follows from shapes.
FIXED_MODES = ('full', 'frozen')
PLANNED_MODES = (*STOCHASTIC_MODES, *FIXED_MODES)
