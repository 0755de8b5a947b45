#include <algorithm>
#include <atomic>
#include <thread>

#include "engines/engine.hpp"
#include "error.hpp"
#include "words.hpp"

#ifdef __linux__
#include <sched.h>
#endif
#ifndef _WIN32
#include <unistd.h>
#endif

namespace fleetnet {
namespace {

constexpr int kMaxThreads = 1024;
const std::vector<std::string> kPrecisions = {"fp32", "bf16", "fp16", "int8"};

bool has(const std::vector<std::string>& words, const std::string& word) {
    return std::find(words.begin(), words.end(), word) != words.end();
}

/// A device's name without what makes no difference: `CUDAExecutionProvider` and `cuda:0` are one.
std::string plain(std::string device) {
    std::string made;
    for (const char sign : device) {
        if (sign == ' ' || sign == '\t' || sign == '\n') continue;
        made += sign >= 'A' && sign <= 'Z' ? static_cast<char>(sign - 'A' + 'a') : sign;
    }
    for (const char* ending : {"executionprovider", ".0", ":0"}) {
        const std::string end = ending;
        if (made.size() >= end.size() &&
            made.compare(made.size() - end.size(), end.size(), end) == 0) {
            made.resize(made.size() - end.size());
        }
    }
    return made;
}

const EngineKind& kind_of(const std::string& name) {
    std::vector<std::string> names;
    for (const EngineKind& kind : engines()) {
        if (name.empty() || kind.name == name) return kind;
        names.push_back(kind.name);
    }
    check_known("engine", name, names);
    throw Error(Code::engine, "this build has no engine");
}

std::string find_device(const EngineKind& kind, const std::string& device) {
    // Looking for other devices takes time, and most callers name none.
    if (plain(device) == "cpu") return "cpu";
    const std::vector<std::string> there = kind.devices();
    for (const std::string& found : there) {
        if (plain(found) == plain(device)) return found;
    }
    throw Error(Code::argument, kind.name + " finds no device '" + device +
                                    "' on this machine: choose " + joined(there, " or "));
}

void check_precision(const EngineKind& kind, const Bundle& bundle, const std::string& precision,
                     const std::string& device) {
    const std::vector<std::string> able = kind.native(device);
    std::vector<std::string> offered;
    for (const Takes& takes : kind.takes) {
        if (!has(able, takes.precision)) continue;
        // The first is always offered: opening the engine then says what is missing.
        if (offered.empty() || bundle.find(takes.format, takes.stored)) {
            offered.push_back(takes.precision);
        }
    }
    if (has(offered, precision)) return;
    const auto takes = std::find_if(kind.takes.begin(), kind.takes.end(),
                                    [&](const Takes& each) { return each.precision == precision; });
    std::string reason;
    if (takes != kind.takes.end() && has(able, precision)) {
        reason = "finds no " + precision + " network in this bundle" +
                 (takes->stored == "int8" ? " (fleetnet quantize makes one)" : "");
    } else {
        reason = "does not offer " + precision +
                 (device == "cpu" ? " on this processor" : " on the device " + device);
    }
    throw Error(Code::argument, kind.name + " " + reason + ": choose " +
                                    (offered.empty() ? "another device" : joined(offered, " or ")));
}

}  // namespace

const std::vector<EngineKind>& engines() {
    static const std::vector<EngineKind> kinds = {
#ifdef FLEETNET_OPENVINO
        openvino_engine(),
#endif
#ifdef FLEETNET_ONNXRUNTIME
        onnxruntime_engine(),
#endif
    };
    return kinds;
}

int available_threads() {
#ifdef __linux__
    cpu_set_t allowed;
    if (sched_getaffinity(0, sizeof allowed, &allowed) == 0) return CPU_COUNT(&allowed);
#endif
    return std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
}

void check_process() {
#ifndef _WIN32
    static std::atomic<pid_t> first{0};
    pid_t none = 0;
    const pid_t here = getpid();
    if (!first.compare_exchange_strong(none, here) && none != here) {
        throw Error(Code::engine,
                    "the engine was started before this process was forked, and its threads are "
                    "not here: open the first bundle after fork, or start a new program");
    }
#endif
}

std::unique_ptr<Engine> open_engine(const std::string& name, const Bundle& bundle,
                                    const EngineSetup& asked) {
    check_process();
    check_known("precision", asked.precision, kPrecisions);
    if (asked.threads < 0 || asked.threads > kMaxThreads) {
        throw Error(Code::argument, "threads is " + std::to_string(asked.threads) +
                                        "; it must be from 1 to " + std::to_string(kMaxThreads));
    }
    EngineSetup setup = asked;
    if (setup.threads == 0) setup.threads = std::min(available_threads(), kMaxThreads);
    const EngineKind& kind = kind_of(name);
    setup.device = find_device(kind, asked.device);
    check_precision(kind, bundle, setup.precision, setup.device);
    return kind.open(bundle, setup);
}

}  // namespace fleetnet
