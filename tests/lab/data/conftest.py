"""Augmentations are tf.data, whatever the backend of Keras: they are tested on one."""

import keras

if keras.backend.backend() != "tensorflow":
    collect_ignore = ["augmentation"]
