_base_ = '../_base_/recognition/epic_kitchens55.py'

model = dict(backbone=dict(keep_ratio=1), cls_head=dict(num_classes=352))
train_dataloader = dict(dataset=dict(ann_file='data/epic_kitchens55/train_noun.txt'))
val_dataloader = dict(dataset=dict(ann_file='data/epic_kitchens55/val_noun.txt'))
test_dataloader = dict(dataset=dict(ann_file='data/epic_kitchens55/val_noun.txt'))
