#include "client/cli/commands.h"

#include "client/cli/dequantize.h"
#include "client/cli/exit_codes.h"
#include "client/cli/info.h"
#include "client/cli/law.h"
#include "client/cli/plan.h"
#include "client/cli/quantize.h"
#include "client/cli/verify.h"

namespace quantd::cli {

bool WritesFolder(const CommandLine& line) {
  return line.command == CommandLine::Command::kDequantize ||
         line.command == CommandLine::Command::kPlan ||
         (line.command == CommandLine::Command::kQuantize && !line.quantize.dry_run);
}

int RunCommand(const CommandLine& line, Environment* env) {
  switch (line.command) {
    case CommandLine::Command::kQuantize:
    case CommandLine::Command::kEstimate:
      return RunQuantize(line.quantize, env);
    case CommandLine::Command::kDequantize:
      return RunDequantize(line.dequantize, env);
    case CommandLine::Command::kPlan:
      return RunPlan(line.plan, env);
    case CommandLine::Command::kLaw:
      return RunLaw(line.law, env);
    case CommandLine::Command::kLawFit:
      return RunLawFit(line.law_fit, env);
    case CommandLine::Command::kVerify:
      return RunVerify(line.verify, env);
    case CommandLine::Command::kInfo:
      return RunInfo(line.info_dir, env);
    case CommandLine::Command::kMethods:
      return RunMethods(line.methods, line.method_name, env);
    case CommandLine::Command::kNone:
      break;
  }
  if (line.exit_code == kExitOk) {
    *env->out << line.text;
  } else {
    *env->err << "error: " << line.text << "\n(quantctl --help shows what there is)\n";
  }
  return line.exit_code;
}

}  // namespace quantd::cli
