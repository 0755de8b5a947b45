// OpenVINO, the default: the fastest on x86 and Arm processors; also on Intel's GPUs and NPUs.
//
// Its C interface crosses compilers, the C++ one does not.
#include <openvino/c/openvino.h>

#include <algorithm>
#include <atomic>
#include <cstring>
#include <future>
#include <list>
#include <mutex>
#include <thread>

#include "engines/engine.hpp"
#include "engines/fitting.hpp"
#include "error.hpp"
#include "words.hpp"

namespace fleetnet {
namespace {

/// How many batch sizes stay compiled; the least recently used one is dropped.
constexpr std::size_t kKept = 4;

std::string upper(std::string text) {
    for (char& sign : text) {
        if (sign >= 'a' && sign <= 'z') sign = static_cast<char>(sign - 'a' + 'A');
    }
    return text;
}

/// What OpenVINO said, in one line.
struct Refused {
    std::string reason;
};

void check(ov_status_e status) {
    if (status == OK) return;
    const char* message = ov_get_last_err_msg();
    std::string reason = message ? one_line(message) : "";
    if (message) ov_free(message);
    throw Refused{reason.empty() ? ov_get_error_info(status) : reason};
}

/// What OpenVINO gives has a function of its own that frees it.
template <typename Thing, void (*free)(Thing*)>
struct Freed {
    void operator()(Thing* thing) const { free(thing); }
};
using Model = std::unique_ptr<ov_model_t, Freed<ov_model_t, ov_model_free>>;
using Compiled =
    std::unique_ptr<ov_compiled_model_t, Freed<ov_compiled_model_t, ov_compiled_model_free>>;
using Request =
    std::unique_ptr<ov_infer_request_t, Freed<ov_infer_request_t, ov_infer_request_free>>;
using Tensor = std::unique_ptr<ov_tensor_t, Freed<ov_tensor_t, ov_tensor_free>>;
using Port = std::unique_ptr<ov_output_const_port_t,
                             Freed<ov_output_const_port_t, ov_output_const_port_free>>;

/// The process's one core, which is never destroyed.
///
/// OpenVINO's CPU plugin replaces the thread's signal stack and restores the former one when its
/// core is destroyed. If a second core was made in the meantime, the first core's stack is restored
/// although it is freed, and the next signal kills the process.
ov_core_t* core() {
    static ov_core_t* const made = [] {
        ov_core_t* core = nullptr;
        check(ov_core_create(&core));
        return core;
    }();
    return made;
}

std::string property(const std::string& device, const char* key) {
    char* value = nullptr;
    check(ov_core_get_property(core(), upper(device).c_str(), key, &value));
    std::string found = value;
    ov_free(value);
    return found;
}

/// Words between spaces.
std::vector<std::string> words_of(const std::string& text) {
    std::vector<std::string> words(1);
    for (const char sign : text) {
        if (sign != ' ' && sign != ',') {
            words.back() += sign;
        } else if (!words.back().empty()) {
            words.emplace_back();
        }
    }
    return words;
}

bool has(const std::vector<std::string>& words, const std::string& word) {
    return std::find(words.begin(), words.end(), word) != words.end();
}

std::vector<std::string> devices() {
    ov_available_devices_t found{};
    try {
        check(ov_core_get_available_devices(core(), &found));
    } catch (const Refused& refused) {
        throw Error(Code::engine,
                    "openvino cannot tell which devices there are: " + refused.reason);
    }
    std::vector<std::string> names;
    for (std::size_t i = 0; i < found.size; ++i) names.push_back(lower(found.devices[i]));
    ov_available_devices_free(&found);
    return names;
}

/// The precisions that a device is built for; a processor computes in fp32 and int8.
std::vector<std::string> native(const std::string& device) {
    std::vector<std::string> found;
    if (device == "cpu") found = {"fp32", "int8"};
    const std::vector<std::string> able = words_of(property(device, "OPTIMIZATION_CAPABILITIES"));
    for (const char* precision : {"fp32", "bf16", "fp16", "int8"}) {
        if (has(able, upper(precision)) && !has(found, precision)) found.emplace_back(precision);
    }
    return found;
}

/// The precision of the layers that the graph does not quantise.
///
/// Around int8 layers that is bf16, if the processor has it: quantisation compares the int8 network
/// as it is computed here. Devices other than the processor have fp16.
std::string inference_precision(const EngineSetup& setup) {
    std::string wanted = setup.precision;
    if (wanted == "int8") {
        wanted = setup.device == "cpu" ? "bf16" : "fp16";
        if (!has(native(setup.device), wanted)) wanted = "fp32";
    }
    return wanted == "fp32" ? "f32" : wanted == "fp16" ? "f16" : wanted;
}

using Options = std::vector<std::pair<std::string, std::string>>;

Options options_of(const EngineSetup& setup) {
    const Options all = {
        {"PERFORMANCE_HINT", setup.throughput ? "THROUGHPUT" : "LATENCY"},
        // By default, OpenVINO would use bf16 on processors that have it, and fp16 on Arm.
        {"INFERENCE_PRECISION_HINT", inference_precision(setup)},
        {"INFERENCE_NUM_THREADS", std::to_string(setup.threads)},
        {"NUM_STREAMS", std::to_string(setup.throughput ? setup.threads : 1)},
    };
    if (setup.device == "cpu") return all;
    // Threads are a setting of the processor only; other devices take some of the others.
    const std::vector<std::string> known = words_of(property(setup.device, "SUPPORTED_PROPERTIES"));
    Options taken;
    for (const auto& option : all) {
        if (has(known, option.first)) taken.push_back(option);
    }
    return taken;
}

/// A shape that is freed.
struct PartialShape {
    ov_partial_shape_t shape{};

    PartialShape() = default;
    explicit PartialShape(const std::vector<std::int64_t>& sides) {
        check(ov_partial_shape_create_static(static_cast<std::int64_t>(sides.size()), sides.data(),
                                             &shape));
    }
    ~PartialShape() { ov_partial_shape_free(&shape); }
    PartialShape(const PartialShape&) = delete;
    PartialShape& operator=(const PartialShape&) = delete;
};

/// A graph compiled for one batch size, and its unused infer requests.
///
/// A request belongs to one call at a time. It holds only inputs and outputs, a few kilobytes: the
/// activations belong to the streams, whose number also limits how many requests are computed at
/// once. So a call that finds no unused request makes a new one, and some are kept.
class CompiledGraph {
   public:
    CompiledGraph(Compiled compiled, std::size_t kept)
        : compiled_(std::move(compiled)), kept_(kept) {}

    Request request() {
        {
            const std::lock_guard<std::mutex> lock(mutex_);
            if (!unused_.empty()) {
                Request found = std::move(unused_.back());
                unused_.pop_back();
                return found;
            }
        }
        ov_infer_request_t* made = nullptr;
        check(ov_compiled_model_create_infer_request(compiled_.get(), &made));
        return Request(made);
    }

    /// Take back a request that is done and whose answers were copied.
    void give_back(Request request) {
        const std::lock_guard<std::mutex> lock(mutex_);
        if (unused_.size() < kept_) unused_.push_back(std::move(request));
    }

   private:
    Compiled compiled_;  // before the requests: they are freed first
    std::size_t kept_;
    std::mutex mutex_;
    std::vector<Request> unused_;
};

/// A graph, compiled for each batch size on its first use: static shapes are faster.
class Graph {
   public:
    Graph(Model model, std::vector<Content> weights, const EngineSetup& setup)
        : weights_(std::move(weights)),
          model_(std::move(model)),
          device_(upper(setup.device)),
          options_(options_of(setup)),
          requests_(static_cast<std::size_t>(setup.throughput ? setup.threads : 1) + 1) {}

    /// The graph for this batch size; it is compiled once, however many threads ask. Calls that
    /// still compute with one that is dropped keep it until then.
    std::shared_ptr<CompiledGraph> of_batch(std::size_t size,
                                            const std::vector<std::int64_t>& sides) {
        if (auto found = known(size)) return found;
        // A separate lock, so that other batch sizes are still computed.
        const std::lock_guard<std::mutex> lock(compiling_);
        if (auto found = known(size)) return found;
        auto made = compile(sides);
        const std::lock_guard<std::mutex> kept_lock(mutex_);
        if (kept_.size() >= kKept) kept_.pop_back();
        kept_.emplace_front(size, made);
        return made;
    }

   private:
    std::vector<Content> weights_;  // the model's constants are in there
    Model model_;
    std::string device_;
    Options options_;
    std::size_t requests_;
    std::mutex mutex_;
    std::mutex compiling_;
    std::list<std::pair<std::size_t, std::shared_ptr<CompiledGraph>>> kept_;  // last used first

    std::shared_ptr<CompiledGraph> known(std::size_t size) {
        const std::lock_guard<std::mutex> lock(mutex_);
        for (auto place = kept_.begin(); place != kept_.end(); ++place) {
            if (place->first == size) {
                kept_.splice(kept_.begin(), kept_, place);
                return place->second;
            }
        }
        return nullptr;
    }

    std::shared_ptr<CompiledGraph> compile(const std::vector<std::int64_t>& sides) {
        // Compiling copies the model, so that it can be given another shape for the next batch.
        const PartialShape shape(sides);
        check(ov_model_reshape_single_input(model_.get(), shape.shape));
        std::vector<ov_property_t> properties;
        for (const auto& option : options_) {
            properties.push_back({option.first.c_str(), option.second.c_str()});
        }
        ov_compiled_model_t* made = nullptr;
        check(ov_core_compile_model_props(core(), model_.get(), device_.c_str(), properties.size(),
                                          properties.data(), &made));
        return std::make_shared<CompiledGraph>(Compiled(made), requests_);
    }
};

/// A tensor in memory that somebody else owns.
Tensor tensor_of(ov_element_type_e type, std::vector<std::int64_t> sides, const void* memory) {
    const ov_shape_t shape{static_cast<std::int64_t>(sides.size()), sides.data()};
    ov_tensor_t* made = nullptr;
    check(ov_tensor_create_from_host_ptr(type, shape, const_cast<void*>(memory), &made));
    return Tensor(made);
}

std::string runtime_version() {
    ov_version_t version{};
    check(ov_get_openvino_version(&version));
    const std::string whole = version.buildNumber;
    ov_version_free(&version);
    return whole.substr(0, whole.find('-'));
}

class OpenVinoEngine : public Engine {
   public:
    OpenVinoEngine(const Bundle& bundle, std::unique_ptr<Graph> graph, const EngineSetup& setup)
        : setup_(setup),
          side_(bundle.manifest().preprocess.crop),
          classes_(static_cast<std::int64_t>(bundle.manifest().classes.size())),
          version_(runtime_version()),
          graph_(std::move(graph)) {}

    std::string name() const override { return "openvino"; }
    std::string version() const override { return version_; }
    std::string precision() const override { return setup_.precision; }
    int threads() const override { return setup_.threads; }
    int in_flight() const override { return setup_.throughput ? setup_.threads : 1; }

    void run(const std::uint8_t* pixels, std::size_t count, float* logits) override {
        if (count == 0) return;
        try {
            compute(pixels, count, logits);
        } catch (const Refused& refused) {
            throw Error(Code::engine, "openvino cannot compute this network in " +
                                          setup_.precision + " on the device " + setup_.device +
                                          ": " + refused.reason);
        }
    }

   private:
    EngineSetup setup_;
    std::int64_t side_;
    std::int64_t classes_;
    std::string version_;
    std::unique_ptr<Graph> graph_;
    std::atomic<std::thread::id> first_{};  ///< that called

    void compute(const std::uint8_t* pixels, std::size_t count, float* logits) {
        const std::vector<std::int64_t> sides = {static_cast<std::int64_t>(count), side_, side_, 3};
        const auto compiled = graph_->of_batch(count, sides);
        Request request = compiled->request();
        const Tensor input = tensor_of(U8, sides, pixels);
        check(ov_infer_request_set_input_tensor(request.get(), input.get()));
        infer(request.get());
        ov_tensor_t* found = nullptr;
        check(ov_infer_request_get_tensor(request.get(), "logits", &found));
        const Tensor answers(found);
        copy(answers.get(), count, logits);
        compiled->give_back(std::move(request));
    }

    /// In the calling thread, which is fastest for a single answer; but OpenVINO keeps memory for
    /// ever, some kilobytes for each call, if many threads do so with one stream of several
    /// threads. All but the first therefore let the stream's own thread compute.
    void infer(ov_infer_request_t* request) {
        std::thread::id nobody;
        const std::thread::id here = std::this_thread::get_id();
        if (setup_.throughput || setup_.threads == 1 ||
            first_.compare_exchange_strong(nobody, here) || nobody == here) {
            check(ov_infer_request_infer(request));
            return;
        }
        check(ov_infer_request_start_async(request));
        check(ov_infer_request_wait(request));
    }

    void copy(const ov_tensor_t* answers, std::size_t count, float* logits) const {
        ov_element_type_e type = DYNAMIC;
        std::size_t elements = 0;
        void* data = nullptr;
        check(ov_tensor_get_element_type(answers, &type));
        check(ov_tensor_get_size(answers, &elements));
        if (type != F32 || elements != count * static_cast<std::size_t>(classes_)) {
            // Checked when the network was opened, by the graph's own words.
            throw Refused{"its logits are not one number for each class"};
        }
        check(ov_tensor_data(answers, &data));
        std::memcpy(logits, data, elements * sizeof(float));
    }
};

Sides sides_of(const ov_output_const_port_t* port) {
    PartialShape found;
    check(ov_port_get_partial_shape(port, &found.shape));
    Sides sides;
    for (std::int64_t i = 0; i < found.shape.rank.max; ++i) {
        const ov_dimension_t& side = found.shape.dims[i];
        sides.push_back(side.min == side.max ? std::optional(side.min) : std::nullopt);
    }
    return sides;
}

/// Read a graph whose files' hashes were checked, from memory.
Model read(const std::vector<Content>& contents) {
    const std::vector<std::uint8_t>& graph = *contents.front();
    Tensor weights;
    if (contents.size() == 2) {
        const auto size = static_cast<std::int64_t>(contents[1]->size());
        weights = tensor_of(U8, {size}, contents[1]->data());
    }
    ov_model_t* made = nullptr;
    check(ov_core_read_model_from_memory_buffer(core(), reinterpret_cast<const char*>(graph.data()),
                                                graph.size(), weights.get(), &made));
    return Model(made);
}

void check_fits(const Bundle& bundle, const std::string& path, const ov_model_t* model) {
    std::size_t inputs = 0;
    check(ov_model_inputs_size(model, &inputs));
    Sides sides;
    ov_output_const_port_t* found = nullptr;
    if (inputs == 1) {
        check(ov_model_const_input_by_index(model, 0, &found));
        const Port input(found);
        sides = sides_of(input.get());
        if (!sides.empty()) sides.erase(sides.begin());
        found = nullptr;
    }
    const bool gives_logits = ov_model_const_output_by_name(model, "logits", &found) == OK;
    const Port logits(found);
    check_graph(bundle, path, inputs, sides, gives_logits);
    const Sides answers = sides_of(logits.get());
    if (!answers.empty() && answers.back()) check_answers(bundle, *answers.back());
}

/// Compute one image, because a device that is found may still not work.
void try_out(Engine& engine, const Bundle& bundle) {
    const std::vector<std::uint8_t> black(bundle.manifest().preprocess.input_bytes());
    std::vector<float> logits(bundle.manifest().classes.size());
    engine.run(black.data(), 1, logits.data());
}

std::unique_ptr<Engine> open(const Bundle& bundle, const EngineSetup& setup) {
    const bool quantised = setup.precision == "int8";
    const std::string format = quantised ? "openvino-ir" : "onnx";
    const std::string stored = quantised ? "int8" : "fp32";
    // Reading and hashing the files takes as long as starting OpenVINO does.
    auto ready = std::async(std::launch::async, [&] {
        try {
            property(setup.device, "OPTIMIZATION_CAPABILITIES");
        } catch (const Refused&) {
            // Said when the graph is compiled.
        }
    });
    std::vector<Content> contents = bundle.contents(format, stored);
    ready.get();
    const std::string path = bundle.file_path(*bundle.find(format, stored));
    // Without weights, OpenVINO would look for a file itself, whose hash was not checked.
    if (contents.size() != (quantised ? 2u : 1u)) {
        throw Error(Code::bundle,
                    path + ": its weights are not in the manifest; export the bundle anew");
    }
    std::unique_ptr<Engine> engine;
    try {
        Model model = read(contents);
        check_fits(bundle, path, model.get());
        if (!quantised) contents.clear();  // copied into the model
        engine = std::make_unique<OpenVinoEngine>(
            bundle, std::make_unique<Graph>(std::move(model), std::move(contents), setup), setup);
    } catch (const Refused& refused) {
        throw Error(Code::bundle, "OpenVINO cannot read " + path + ": " + refused.reason);
    }
    if (setup.device != "cpu") try_out(*engine, bundle);
    return engine;
}

}  // namespace

EngineKind openvino_engine() {
    return {"openvino",
            {{"fp32", "onnx"}, {"bf16", "onnx"}, {"fp16", "onnx"}, {"int8", "openvino-ir", "int8"}},
            devices,
            [](const std::string& device) {
                try {
                    return native(device);
                } catch (const Refused& refused) {
                    throw Error(Code::engine,
                                "openvino cannot use the device " + device + ": " + refused.reason);
                }
            },
            open,
            [] {
                try {
                    return runtime_version();
                } catch (const Refused&) {
                    return std::string();
                }
            }};
}

}  // namespace fleetnet
