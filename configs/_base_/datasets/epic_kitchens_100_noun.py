# EPIC-Kitchens-100, nouns: the videos and windows of the verbs.
_base_ = 'epic_kitchens_100_verb.py'

_dataset = dict(type='EpicKitchens100NounDataset')
train_dataloader = dict(dataset=_dataset)
val_dataloader = dict(dataset=_dataset)
test_dataloader = dict(dataset=_dataset)
