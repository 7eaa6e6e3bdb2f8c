"""A frozen run → reports. One view model, then one module per format."""
