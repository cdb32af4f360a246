"""Widgets of other packages are shown in Colab after `enable_custom_widget_manager`; those of ipywidgets always are."""

VERSION = "5.0.0a"


def enable_custom_widget_manager(version: str = VERSION) -> None:
    if version != VERSION:
        raise ValueError(f"Unknown widgets version: {version}")


def disable_custom_widget_manager() -> None:
    pass


def clear(wait: bool = False) -> None:
    pass
