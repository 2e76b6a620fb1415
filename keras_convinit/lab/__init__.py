"""Networks, data, training and the command line: what shows that the rest works.

It needs the extra `[lab]`, makes no promise of stability, and nothing outside it
imports it but `keras_convinit.__main__`.
"""
