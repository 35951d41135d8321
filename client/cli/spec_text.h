// A spec in words and in reports: the fields that have a say in it.
#pragma once

#include <nlohmann/json.hpp>
#include <string>

#include "workers/core/spec.h"
#include "workers/core/spec_fields.h"
#include "workers/methods/method.h"

namespace quantd::cli {

// False for fields that nothing reads under `spec`: the table of affine levels, the size of groups
// where there are none, an exception that is off.
bool FieldMatters(const SpecField& field, const Spec& spec);

// {"method": "gptq", "levels": "affine-int", "bits": 4, ...}: every field that matters, by name.
nlohmann::ordered_json SpecForReport(const Spec& spec);

// Bits of one weight's code: "4", "1.75".
std::string BitsText(const Levels& levels);

// "gptq int4 g128 symmetric-minmax f16 act-order".
std::string SpecSummary(const Spec& spec);

// What `quantctl methods NAME` prints.
std::string DescribeMethod(const Method& method);

}  // namespace quantd::cli
