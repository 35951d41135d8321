#include "workers/linalg/entry_scan_table.h"

#define QUANTD_SCAN_TABLE kEntryScanAvx2
#define QUANTD_SCAN_NAME "avx2"
#include "workers/linalg/entry_scan.inc"
