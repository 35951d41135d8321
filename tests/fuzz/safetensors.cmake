quantd_fuzzer(safetensors SOURCE safetensors_fuzz.cc LIBS quantd::client_files)
