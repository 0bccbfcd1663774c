from hypothesis import settings

# A busy machine makes an example slow, not wrong.
settings.register_profile("steady", deadline=None)
settings.load_profile("steady")
