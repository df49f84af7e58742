"""The bundled encoder `small`: its training data, its training and its evaluation.

`python -m experiments.small_encoder` runs all of it. The data flow: `policies` act in the scenes, the
episodes are drawn and labelled (`dataset`), a narrow S3D and a text tower learn from them (`training`), policies learn
from its reward, and their episodes become data too (`learner`). `evaluation` measures what the encoder knows, and
`card` writes the model card.
"""
