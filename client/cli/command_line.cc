#include "client/cli/command_line.h"

#include <CLI/CLI.hpp>
#include <functional>
#include <sstream>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "client/cli/exit_codes.h"
#include "client/cli/law_profiles.h"
#include "client/cli/quantities.h"
#include "workers/core/spec_fields.h"
#include "workers/pack/layout.h"

namespace quantd::cli {
namespace {

// `memory`: the names of the option for the embedded server's memory; plan's --budget is of bits.
void AddConnection(CLI::App* app, ConnectionFlags* flags,
                   const char* memory = "--budget,--server-budget") {
  app->add_option(
         "--server", flags->channel.target,
         "HOST:PORT, dns:///NAME:PORT or unix:PATH; without it the server runs in this process")
      ->envname("QUANTD_SERVER");
  app->add_option("--jobs", flags->jobs, "Layer groups in flight")->check(CLI::Range(1, 256));
  app->add_option("--channels", flags->channel.channels, "HTTP/2 connections to the server")
      ->check(CLI::Range(1, 64));
  app->add_flag("--tls", flags->channel.tls, "Encrypt, trusting the system's certificates");
  app->add_option("--tls-ca", flags->channel.tls_ca, "PEM file with the certificates to trust");
  app->add_option("--tls-cert", flags->channel.tls_cert, "PEM file with our own certificate");
  app->add_option("--tls-key", flags->channel.tls_key, "PEM file with its key");
  app->add_option("--deadline", flags->deadline_seconds,
                  "Seconds one call may take; default: 20 min and 10 x the prediction")
      ->check(CLI::PositiveNumber);
  app->add_option("--attempts", flags->max_attempts,
                  "Attempts per layer group while the server is away")
      ->check(CLI::Range(1, 1000));
  app->add_option("--threads", flags->channel.embedded_threads,
                  "Threads of the server in this process; default: all")
      ->check(CLI::Range(1, 1024));
  app->add_option(memory, flags->channel.embedded_budget_bytes,
                  "Bytes the server in this process may use (suffixes kb, mb, gb)")
      ->transform(CLI::AsSizeValue(false));
}

// A flag whose text SetField checks, so that flags and recipes take the same values.
CLI::Option* AddSpecOption(CLI::App* app, const std::string& key, const std::string& help,
                           SpecChoice* choice) {
  return app->add_option_function<std::string>(
      "--" + key,
      [key, choice](const std::string& value) {
        absl::Status status = SetField(key, value, choice);
        if (!status.ok()) throw CLI::ValidationError("--" + std::string(status.message()));
      },
      help);
}

// A shorthand says all that its fields say: one or the others.
void AddAdditive(CLI::App* app, SpecChoice* choice) {
  const SpecShorthand& scheme = *FindSpecShorthand("scheme");
  AddSpecOption(app, std::string(scheme.name), absl::StrCat(scheme.help, "; ", scheme.grammar),
                choice);
  for (absl::string_view name : scheme.fields) {
    AddSpecOption(app, std::string(name), std::string(FindSpecField(name)->help), choice)
        ->excludes(absl::StrCat("--", scheme.name));
  }
  AddSpecOption(app, "beam", "additive: hypotheses of the search for codes, 1 to 64", choice);
}

void AddSpec(CLI::App* app, SpecChoice* choice) {
  AddSpecOption(app, "method", "A preset; quantctl methods lists them. Default rtn", choice);
  AddSpecOption(app, "bits", "Bits of a code, 2 to 8", choice);
  AddSpecOption(app, "group-size", "Weights that share a scale, \"row\", \"column\" or \"tensor\"",
                choice);
  AddSpecOption(app, "group-axis",
                "Groups along a row (out), down a column (in), or the better (adaptive)", choice);
  AddSpecOption(app, "symmetry",
                "symmetric-minmax, symmetric-absmax, symmetric-full-range or asymmetric", choice);
  app->add_flag_callback(
         "--symmetric", [choice] { choice->fields["symmetry"] = "symmetric-minmax"; },
         "Short for --symmetry symmetric-minmax")
      ->excludes("--symmetry");
  app->add_flag_callback(
         "--asymmetric", [choice] { choice->fields["symmetry"] = "asymmetric"; },
         "Short for --symmetry asymmetric")
      ->excludes("--symmetry")
      ->excludes("--symmetric");
  AddSpecOption(app, "fit", "min-max, shrink-search, clip-search, hqq, k-means or binary-search",
                choice);
  AddSpecOption(app, "order", "gptq: act-order, natural or group-aware", choice);
  AddSpecOption(app, "timing", "gptq: static or dynamic groups", choice);
  AddSpecOption(app, "damping", "gptq: fraction of H's mean diagonal", choice);
  AddAdditive(app, choice);
  AddSpecOption(app, "scale-dtype", "F16, BF16 or F32", choice);
  AddSpecOption(app, "tail", "reject or short-last-group, where groups do not divide", choice);
  app->add_option_function<std::vector<std::string>>(
         "--set",
         [choice](const std::vector<std::string>& values) {
           for (const std::string& value : values) {
             const absl::Status status = SetFields(value, choice);
             if (!status.ok())
               throw CLI::ValidationError("--set: " + std::string(status.message()));
           }
         },
         "KEY=VALUE[,KEY=VALUE...]: any axis of the method; quantctl methods NAME lists them")
      ->expected(1)
      ->take_all();
}

std::vector<std::string> LayoutNames() {
  std::vector<std::string> names;
  for (const Layout* layout : AllLayouts()) names.emplace_back(layout->name());
  return names;
}

void AddQuantizeInput(CLI::App* app, QuantizeFlags* flags) {
  app->add_option("model", flags->model_dir, "Hugging Face folder")->required();
  AddSpec(app, &flags->spec);
  app->add_option("--layout", flags->layout,
                  "What is written; default: the first of these that can hold the method's result")
      ->check(CLI::IsMember(LayoutNames()));
  app->add_option("--statistics", flags->statistics,
                  "safetensors file with Hessians or activations");
  app->add_option("--recipe", flags->recipe, "YAML file with specs per layer (docs/recipes.md)");
  app->add_option("--include", flags->include, "Only modules that match this regular expression")
      ->expected(1)
      ->take_all();
  app->add_option("--exclude", flags->exclude, "Leave modules that match this regular expression")
      ->expected(1)
      ->take_all();
  app->add_flag(
      "--keep-unfit", flags->keep_unfit,
      "Leave weights dense that the spec or the layout does not fit, instead of an error");
  app->add_option("--max-shard-size", flags->max_shard_bytes,
                  "Bytes of one output file (suffixes kb, mb, gb)")
      ->transform(CLI::AsSizeValue(false));
  app->add_option("--checkpoint-seconds", flags->checkpoint_seconds,
                  "How often the state of a long solve (aqlm) is stored in the output folder, for "
                  "--resume and lost servers; default 60, 0: never")
      ->check(CLI::Range(0, 1'000'000'000));
  app->add_flag("--verbose,-v", flags->verbose, "List every tensor that stays, and every retry");
}

void AddQuantize(CLI::App* app, QuantizeFlags* flags) {
  AddQuantizeInput(app, flags);
  app->add_option("-o,--output", flags->out_dir, "Folder to write");
  app->add_option_function<std::string>(
         "--on-degraded",
         [flags](const std::string& value) { flags->accept_degraded = value == "accept"; },
         "accept or fail (default): what a layer means that did not go as asked")
      ->check(CLI::IsMember({"accept", "fail"}));
  app->add_flag("--resume", flags->resume, "Continue an interrupted run");
  app->add_flag("--dry-run", flags->dry_run, "Show what would be done, and what it would cost");
  app->add_option("--report", flags->report, "Write all figures and times to this JSON file");
  app->add_option("--html", flags->html, "Write a page with charts of errors, outcomes and times");
  CLI::Option* listen =
      app->add_option("--metrics-listen", flags->metrics_listen,
                      "HOST:PORT of GET /metrics: how far the run is, and its worst layers, for "
                      "Prometheus; port 0 takes a free one");
  app->add_option("--metrics-linger", flags->metrics_linger_seconds,
                  "Seconds to go on serving metrics after the run, for the last scrape; default 0, "
                  "Ctrl-C ends them")
      ->check(CLI::Range(0, 86'400))
      ->needs(listen);
  AddConnection(app, &flags->connection);
}

void AddDequantize(CLI::App* app, DequantizeFlags* flags) {
  app->add_option("model", flags->quantized_dir, "Quantized folder")->required();
  app->add_option("-o,--output", flags->out_dir, "Folder to write")->required();
  app->add_option_function<std::string>(
         "--dtype", [flags](const std::string& value) { flags->dtype = *ParseDType(value); },
         "F32, F16 or BF16; default: config.json's torch_dtype, else F32")
      ->check(CLI::IsMember({"F32", "F16", "BF16"}));
  app->add_flag("--resume", flags->resume, "Continue an interrupted run");
  app->add_option("--max-shard-size", flags->max_shard_bytes,
                  "Bytes of one output file (suffixes kb, mb, gb)")
      ->transform(CLI::AsSizeValue(false));
  app->add_flag("--verbose,-v", flags->verbose, "Tell every retry");
  AddConnection(app, &flags->connection);
}

void AddLawChoice(CLI::App* app, std::string* profile, std::string* file) {
  *profile = kDefaultLaw;
  app->add_option("--law", *profile, absl::StrCat("Scaling law; default ", kDefaultLaw));
  app->add_option("--profiles", *file, "YAML file with more laws, as quantctl law fit prints them");
}

// A flag whose text `parse` turns into `*to`, or says what is wrong with it.
template <typename T>
CLI::Option* AddParsed(CLI::App* app, const char* name, const char* help,
                       absl::StatusOr<T> (*parse)(absl::string_view), std::optional<T>* to) {
  return app->add_option_function<std::string>(
      name,
      [name, parse, to](const std::string& text) {
        const absl::StatusOr<T> value = parse(text);
        if (!value.ok()) {
          throw CLI::ValidationError(absl::StrCat(name, ": ", value.status().message()));
        }
        *to = *value;
      },
      help);
}

void AddPlanGoal(CLI::App* app, PlanFlags* flags) {
  CLI::Option_group* goal = app->add_option_group("Goal", "One of");
  AddParsed(goal, "--budget", "Bits a weight, all of them counted: 4.0bpw", ParseBits,
            &flags->budget_bits);
  AddParsed(goal, "--size", "Bytes of the model's files: 3.5GB, 900MB", ParseBytes, &flags->size);
  AddParsed(goal, "--max-error", "Error of the plan: 0.5%, 0.005", ParseShare, &flags->max_error);
  AddParsed(goal, "--qr", "Q_r, share of the weights in low precision: 0.9", ParseShare,
            &flags->low_share);
  AddParsed(goal, "--max-loss",
            "Rise of the loss by the scaling law: 1% of perplexity, or nats: 0.01", ParseDelta,
            &flags->max_loss);
  goal->require_option(1);
}

void AddPlan(CLI::App* app, PlanFlags* flags) {
  app->add_option("model", flags->model_dir, "Hugging Face folder")->required();
  AddPlanGoal(app, flags);
  app->add_option("-o,--output", flags->out, "Recipe to write, for quantize --recipe")->required();
  app->add_option("--html", flags->html, "Page to write, with charts");
  app->add_option("--report", flags->report, "Write all figures to this JSON file");
  app->add_option(
      "--frontier", flags->frontier,
      "File of measured candidates, used again and added to; default: beside the recipe");
  app->add_option(
         "--candidates", flags->candidates,
         "METHOD[:KEY=VALUE[|VALUE...],...][;...]: what each layer may get; default widths "
         "and groups of gptq, or of rtn without --statistics; mxint4 for --qr and "
         "--max-loss")
      ->take_all();
  app->add_option("--statistics", flags->statistics,
                  "safetensors file with Hessians or activations");
  app->add_option("--layout", flags->layout,
                  "What is written; default: the first that holds every candidate")
      ->check(CLI::IsMember(LayoutNames()));
  app->add_option("--include", flags->include, "Plan only modules that match this regex")
      ->take_all();
  app->add_option("--exclude", flags->exclude, "Leave modules that match this regex as they are")
      ->take_all();
  app->add_option("--same", flags->same,
                  "Layers that match this regex take one candidate, all of them")
      ->take_all();
  app->add_option("--min-bits", flags->min_bits, "REGEX=BITS: no fewer bits a weight's code there")
      ->take_all();
  app->add_option("--max-bits", flags->max_bits, "REGEX=BITS: no more bits a weight's code there")
      ->take_all();
  app->add_option("--sensitivity", flags->sensitivity,
                  "CSV file with columns module, sensitivity: weighs the errors of its layers");
  AddLawChoice(app, &flags->law, &flags->profiles);
  AddParsed(app, "--parameters", "N of the law: 7B; default: what the model has", ParseBillions,
            &flags->billions);
  app->add_flag("--extrapolate", flags->extrapolate,
                "Take the law's word outside of what it was measured on");
  app->add_option("--random", flags->trials,
                  "With --qr: so many random draws, and the best of them, instead of the optimum")
      ->check(CLI::Range(1, 1000));
  app->add_option("--seed", flags->seed, "Of the random draws");
  app->add_flag("--by-block", flags->by_block, "Draw whole transformer blocks");
  app->add_option("--loss-command", flags->loss_command,
                  "Program that gets a trial's recipe as its last argument and prints its loss as "
                  "the last line; default: the predicted error decides");
  app->add_flag("--verbose,-v", flags->verbose, "List every layer, and every retry");
  AddConnection(app, &flags->connection, "--server-budget");
}

void AddLaw(CLI::App* app, LawFlags* flags, LawFitFlags* fit) {
  AddLawChoice(app, &flags->profile, &flags->profiles);
  AddParsed(app, "--parameters", "N: 7B, 500M", ParseBillions, &flags->question.billions);
  AddParsed(app, "--qr", "Q_r, share of the weights in low precision: 0.9", ParseShare,
            &flags->question.low_share);
  AddParsed(app, "--qb", "Q_b, weights that share a scale: 32", ParseNumber,
            &flags->question.block);
  AddParsed(app, "--max-loss", "Rise of the loss: 10% of perplexity, or nats: 0.0953", ParseDelta,
            &flags->question.delta);
  app->add_flag("--extrapolate", flags->extrapolate,
                "Answer outside of what the law was measured on");
  CLI::App* sub = app->add_subcommand("fit", "Constants from measured points");
  sub->add_option("points", fit->points,
                  "CSV file with columns billions, low_share, block and delta (nats) or rise (of "
                  "the perplexity)")
      ->required();
  sub->add_option("--prior", fit->prior, "Law whose exponents stand where the points say nothing");
  sub->add_option("--profiles", fit->profiles, "YAML file with more laws");
}

std::string PlanContradiction(const PlanFlags& flags) {
  if (flags.trials > 0 && !flags.low_share) return "--random draws at a share: give --qr";
  if (flags.trials == 0 && (flags.by_block || !flags.loss_command.empty())) {
    return "--by-block and --loss-command belong to --random";
  }
  return "";
}

// What CLI11 cannot check flag by flag.
std::string Contradiction(const CommandLine& line) {
  if (line.command == CommandLine::Command::kNone) {
    return "a command is missing: quantize, dequantize, estimate, plan, law, verify, info or "
           "methods";
  }
  if (line.command == CommandLine::Command::kPlan) return PlanContradiction(line.plan);
  if (line.command != CommandLine::Command::kQuantize &&
      line.command != CommandLine::Command::kEstimate) {
    return "";
  }
  const QuantizeFlags& flags = line.quantize;
  if (line.command == CommandLine::Command::kQuantize && flags.out_dir.empty() && !flags.dry_run) {
    return "-o OUT_DIR is missing (or give --dry-run)";
  }
  // With a recipe, flags are one layer of several: each module's choice is checked on its own.
  if (flags.recipe.empty()) {
    const absl::StatusOr<Spec> spec = ResolveSpec(flags.spec);
    if (!spec.ok()) return std::string(spec.status().message());
    const bool sweep =
        flags.spec.Has("order") || flags.spec.Has("timing") || flags.spec.Has("damping");
    if (sweep && spec->solve.solver != Solver::kGptq) {
      return absl::StrCat("--order, --timing and --damping speak to the sweep of solver gptq; ",
                          spec->method, " has none (--set solver=gptq gives it one)");
    }
    if (flags.spec.Has("bits") && spec->levels.additive()) {
      return absl::StrCat("--bits: the bits of ", spec->method,
                          " come from its codebooks; --scheme 2x8 has 2, 3x8 has 3");
    }
    for (absl::string_view name : {"codebooks", "codebook-bits", "in-group", "out-group", "beam"}) {
      if (!flags.spec.Has(name) || spec->levels.additive()) continue;
      return absl::StrCat("--scheme, its numbers and --beam speak to additive levels; ",
                          spec->method, " has none (--method aqlm has)");
    }
  }
  if (flags.max_shard_bytes == 0) return "--max-shard-size: 0 is not a size";
  return "";
}

}  // namespace

CommandLine ParseCommandLine(int argc, const char* const* argv) {
  using Command = CommandLine::Command;
  CommandLine line;
  CLI::App app("Quantizes Hugging Face checkpoints through quantd.", "quantctl");
  app.set_version_flag("--version", std::string("quantctl ") + QUANTD_VERSION);
  app.require_subcommand(0, 1);  // none is told below, in clearer words than CLI11's

  std::vector<std::pair<CLI::App*, Command>> commands;
  const auto add = [&](const char* name, const char* help, Command command) {
    CLI::App* sub = app.add_subcommand(name, help);
    commands.emplace_back(sub, command);
    return sub;
  };
  QuantizeFlags estimate;
  AddQuantize(add("quantize", "Quantize a checkpoint", Command::kQuantize), &line.quantize);
  AddDequantize(add("dequantize", "Turn a quantized folder into a plain one", Command::kDequantize),
                &line.dequantize);
  CLI::App* estimate_app = add("estimate", "What quantize would do and cost", Command::kEstimate);
  AddQuantizeInput(estimate_app, &estimate);
  AddConnection(estimate_app, &estimate.connection);
  AddPlan(add("plan", "Which layers at which precision", Command::kPlan), &line.plan);
  CLI::App* law = add("law", "What a scaling law says of precision and loss", Command::kLaw);
  AddLaw(law, &line.law, &line.law_fit);
  CLI::App* verify = add("verify", "Check a quantized folder against its report", Command::kVerify);
  verify->add_option("folder", line.verify.dir, "Quantized folder")->required();
  verify->add_option("--source", line.verify.source,
                     "Folder it was made from: compares errors too");
  verify->add_option("--report", line.verify.report, "Report; default: the one in the folder");
  add("info", "Summary of a dense or quantized folder", Command::kInfo)
      ->add_option("folder", line.info_dir, "Folder")
      ->required();
  CLI::App* methods = add("methods", "All methods, or one in full", Command::kMethods);
  methods->add_option("name", line.method_name, "Method to describe");
  AddConnection(methods, &line.methods);

  try {
    app.parse(argc, argv);
    for (const auto& [sub, command] : commands) {
      if (sub->parsed()) line.command = command;
    }
    if (line.command == Command::kLaw && !law->get_subcommands().empty()) {
      line.command = Command::kLawFit;
    }
    if (line.command == Command::kEstimate) {
      line.quantize = estimate;
      line.quantize.dry_run = true;
    }
    line.text = Contradiction(line);
    if (!line.text.empty()) {
      line.command = Command::kNone;
      line.exit_code = kExitBadInput;
    }
  } catch (const CLI::ParseError& e) {
    line.command = Command::kNone;
    std::ostringstream out;
    std::ostringstream err;
    const bool asked = app.exit(e, out, err) == 0;  // help or version
    line.text = asked ? out.str() : std::string(e.what());
    line.exit_code = asked ? kExitOk : kExitBadInput;
  }
  return line;
}

}  // namespace quantd::cli
