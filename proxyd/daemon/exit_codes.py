"""What the process exits with (sysexits.h)."""

EX_OK = 0
EX_UNAVAILABLE = 69  # no listener could be opened, or another daemon has these records
EX_CONFIG = 78  # starting again does not mend it
