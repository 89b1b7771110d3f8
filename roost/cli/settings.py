"""What the command sets in the environment of the process it is. Reads nothing, and imports nothing that takes time."""

import os


def keep_model_use_private() -> None:
    """Have ONNX Runtime report nothing, here and in every process started here; to be called before it is imported.

    Since 1.29 its Linux builds send a device id, model and graph names to their maker, and keep them in `~/.cache`, unless this
    variable tells them not to: its own `disable_telemetry_events` comes too late for the device id.
    """
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
