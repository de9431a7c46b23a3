_base_ = 'default_runtime.py'

default_hooks = dict(checkpoint=dict(save_best='online/mAP'))
