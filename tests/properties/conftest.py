"""How long the properties are tried: shortly and always alike in `make test`, at length and by chance in `make fuzz`.

`max_examples` is for ten: a test that asks for `examples(3)` gets three tenths of it.
"""

from hypothesis import HealthCheck, Phase, settings

# Two workers that share a core may be slow by chance, which is no failure.
ALWAYS = dict(deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True)

settings.register_profile(
    "properties", max_examples=10, derandomize=True, phases=[Phase.explicit, Phase.generate], **ALWAYS
)
settings.register_profile("fuzz", max_examples=1000, **ALWAYS)
