# /opt is read-only on Lambda: what a layer does not bring as bytecode is compiled at every cold
# start. unchecked-hash, since zip files keep no time stamp that Python would trust.
LAYER_PYTHON ?= python3.13
compile = if $(LAYER_PYTHON) -c '' 2>/dev/null; \
	then $(LAYER_PYTHON) -m compileall -q -j 0 --invalidation-mode unchecked-hash -s $(ARTIFACTS_DIR)/python -p /opt/python $(ARTIFACTS_DIR)/python; \
	else echo "no $(LAYER_PYTHON) runs here: $@ leaves no bytecode, cold starts are slower"; fi
