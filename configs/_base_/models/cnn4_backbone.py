# Four convolutions, frame by frame. No single frame tells the class: its features say where in the
# frame things are, for a head that sees the motion.
cnn4 = dict(type='FrameCNN', channels=64, keep_places=True)
