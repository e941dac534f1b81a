"""What a program loads that is to know the toy kind: see `Site.also`."""

from tests.targets.toy import make_known

make_known()
