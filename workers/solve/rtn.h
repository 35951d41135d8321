// Round to nearest: each weight gets the nearest level of its group. Needs no statistics.
#pragma once

#include "workers/core/coded.h"

namespace quantd {

// Fills io->codes for the stripe `w`, [io->rows, io->cols], from the scales and zeros that `io`
// holds. Honours group_of_column and a short last group.
void RoundRows(const float* w, Coded* io);

}  // namespace quantd
