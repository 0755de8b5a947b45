// What computes: uint8 pixels in, logits out. One file an engine.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "bundle/bundle.hpp"

namespace fleetnet {

struct EngineSetup {
    std::string precision = "fp32";  ///< fp32, bf16, fp16, int8
    std::string device = "cpu";
    int threads = 0;          ///< 0: all available processors
    bool throughput = false;  ///< several batches at once instead of one as soon as can be
};

/// Any number of threads may call one engine at once, and each gets its own answer.
class Engine {
   public:
    virtual ~Engine() = default;

    virtual std::string name() const = 0;     ///< "openvino", "onnxruntime"
    virtual std::string version() const = 0;  ///< of the runtime
    virtual std::string precision() const = 0;
    virtual int threads() const = 0;
    /// How many calls of run() are computed at once.
    virtual int in_flight() const = 0;

    /// Map `count` inputs of crop × crop × 3 bytes to count × classes logits.
    ///
    /// Throws Error(Code::engine).
    virtual void run(const std::uint8_t* pixels, std::size_t count, float* logits) = 0;
};

/// The artifact that an engine loads for a precision.
struct Takes {
    std::string precision;  ///< that it computes in
    std::string format;
    std::string stored = "fp32";  ///< precision of the artifact
};

struct EngineKind {
    std::string name;
    std::vector<Takes> takes;  ///< fp32 first if it computes in it
    /// The devices that the runtime finds here, in its own words, in lower case.
    std::function<std::vector<std::string>()> devices;
    /// The precisions that a device is built for; others than in `takes` do not matter.
    std::function<std::vector<std::string>(const std::string& device)> native;
    /// Loads a bundle's network, with a precision and a device that it offers.
    std::function<std::unique_ptr<Engine>(const Bundle&, const EngineSetup&)> open;
    std::function<std::string()> version;  ///< of the runtime; empty if it is not found
};

/// The engines of this build, the default first. Each engines/*.cpp gives one.
const std::vector<EngineKind>& engines();

/// How many processors this process may use.
int available_threads();

/// Throws Error(Code::engine) in a process that was forked from one that has opened an engine: the
/// engine's threads are not in it, and whoever waits for them waits for ever.
void check_process();

/// Open an engine by its name; an empty one is the default.
///
/// Throws Error(Code::argument) for an unknown name, device or precision or one that is not
/// offered, Error(Code::engine) if the runtime is absent or fails, Error(Code::bundle) if the
/// artifact is.
std::unique_ptr<Engine> open_engine(const std::string& name, const Bundle&, const EngineSetup&);

EngineKind openvino_engine();
EngineKind onnxruntime_engine();

}  // namespace fleetnet
