#include "workers/linalg/entry_scan_table.h"

#define QUANTD_SCAN_TABLE kEntryScanAvx512
#define QUANTD_SCAN_NAME "avx512"
#include "workers/linalg/entry_scan.inc"
