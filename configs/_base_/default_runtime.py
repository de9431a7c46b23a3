default_scope = 'sbp_tad'
custom_imports = dict(imports=['sbp_tad'])

default_hooks = dict(
    runtime_info=dict(type='RuntimeInfoHook'),
    timer=dict(type='IterTimerHook'),
    logger=dict(type='LoggerHook', interval=20, ignore_last=False),
    param_scheduler=dict(type='ParamSchedulerHook'),
    checkpoint=dict(type='AtomicCheckpointHook', interval=1, max_keep_ckpts=2,
                    save_best='tad/average_mAP', rule='greater'),
    sampler_seed=dict(type='DistSamplerSeedHook'),
    sync_buffers=dict(type='SyncBuffersHook'),
    training_state=dict(type='TrainingStateHook'),
    start_checks=dict(type='StartChecksHook'),
    exact_resume=dict(type='ExactResumeHook'),
    resume_check=dict(type='ResumeCheckHook'),
    # action='skip' skips an update with NaN or infinity instead of ending the run
    finite_numbers=dict(type='FiniteNumbersHook'),
    provenance=dict(type='ProvenanceHook'),
    bad_items=dict(type='BadItemsHook'))

env_cfg = dict(
    cudnn_benchmark=False,
    mp_cfg=dict(mp_start_method='fork', opencv_num_threads=0),
    dist_cfg=dict(backend='nccl'))

log_processor = dict(type='LogProcessor', window_size=20, by_epoch=True)
# TensorBoard on request: --cfg-options visualizer.vis_backends.0.type=TensorboardVisBackend
vis_backends = [dict(type='LocalVisBackend')]
visualizer = dict(type='ActionVisualizer', vis_backends=vis_backends)

log_level = 'INFO'
load_from = None
resume = False
auto_scale_lr = dict(enable=False, base_batch_size=2)
randomness = dict(seed=0)
