"""Charts of profiler-output for notebooks, drawn with Plotly behind the calls that smdebug has for Bokeh.

Bokeh is never imported: many notebooks install a version of it that does not work with numpy 2.
"""
