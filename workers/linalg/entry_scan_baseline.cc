#include "workers/linalg/entry_scan_table.h"

#define QUANTD_SCAN_TABLE kEntryScanBaseline
#define QUANTD_SCAN_NAME "baseline"
#include "workers/linalg/entry_scan.inc"
