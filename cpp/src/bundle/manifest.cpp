#include <algorithm>
#include <cmath>
#include <limits>
#include <set>
#include <tuple>

#include "bundle/bundle.hpp"
#include "bundle/json.hpp"
#include "bundle/preprocess_field.hpp"
#include "bundle/schema.hpp"
#include "bundle/versions.hpp"
#include "error.hpp"
#include "words.hpp"

namespace fleetnet {
namespace {

/// How deep objects and lists of a manifest may be nested.
constexpr int kDeepest = 64;

bool deeper_than(const Json& value, int levels) {
    if (levels == 0) return true;
    return std::any_of(value.items.begin(), value.items.end(),
                       [&](const Json& item) { return deeper_than(item, levels - 1); });
}

void read_model(const Value& value, bool newer, Manifest& manifest, std::string& num_classes) {
    Fields model(value, newer);
    manifest.model = model.required("name").text();
    num_classes = model.required("num_classes").amount();
    if (const auto activation = model.optional("activation")) {
        const std::string word = activation->one_of({"softmax", "sigmoid"});
        manifest.activation = word == "softmax" ? Activation::softmax : Activation::sigmoid;
    }
    model.end();
}

std::vector<std::string> texts(const Value& value) {
    std::vector<std::string> found;
    value.each([&](const Value& item) { found.push_back(item.text()); });
    return found;
}

using Shape = std::vector<std::optional<std::string>>;

Shape read_tensor(const Value& value, bool newer) {
    Fields tensor(value, newer);
    tensor.required("name").text();
    tensor.required("dtype").one_of({"uint8", "float32"});
    Shape shape;
    tensor.required("shape").each([&](const Value& side) {
        shape.push_back(side.json().is_null() ? std::nullopt : std::optional(side.whole()));
    });
    if (const auto layout = tensor.nullable("layout")) layout->text();
    if (const auto color = tensor.nullable("color")) color->text();
    tensor.end();
    return shape;
}

double read_calibration(const Value& value, bool newer) {
    Fields calibration(value, newer);
    const double temperature =
        calibration.required("temperature").share(1e-6, std::numeric_limits<double>::infinity());
    calibration.required("images").amount();
    calibration.required("ece_before").share(0, 1);
    calibration.required("ece_after").share(0, 1);
    calibration.required("source").text();
    calibration.end();
    return temperature;
}

Rejection read_rejection(const Value& value, bool newer) {
    constexpr double infinity = std::numeric_limits<double>::infinity();
    Fields fields(value, newer);
    Rejection rejection;
    const std::string score =
        fields.required("score").one_of({"energy", "max-logit", "probability"});
    rejection.score = score == "energy"      ? Certainty::energy
                      : score == "max-logit" ? Certainty::max_logit
                                             : Certainty::probability;
    rejection.threshold = fields.required("threshold").share(-infinity, infinity);
    fields.required("coverage").share(0, 1);
    fields.required("risk").share(0, 1);
    fields.required("images").amount();
    fields.required("source").text();
    fields.end();
    return rejection;
}

/// How many logits each row of the self-test has.
std::vector<std::size_t> read_self_test(const Value& value, bool newer) {
    Fields self_test(value, newer);
    std::vector<std::size_t> rows;
    self_test.required("logits").each([&](const Value& row) {
        row.each([](const Value& logit) { logit.real(); });
        rows.push_back(row.json().items.size());
    });
    self_test.end();
    return rows;
}

void read_judgement(const Value& value, bool newer) {
    Fields judgement(value, newer);
    judgement.required("metric").name();
    if (const auto of_class = judgement.nullable("of_class")) of_class->text();
    judgement.required("judged_by").name();
    judgement.required("images").amount();
    for (const char* name : {"loss", "low", "high"}) judgement.required(name).real();
    judgement.required("allowed").share(0, 1);
    for (const char* name : {"fp32", "found", "fp32_nll", "nll", "fp32_ece", "ece"}) {
        if (const auto number = judgement.nullable(name)) number->real();
    }
    judgement.end();
}

void read_verification(const Value& value, bool newer) {
    Fields verification(value, newer);
    verification.required("engine").text();
    verification.required("engine_version").text();
    if (const auto device = verification.optional("device")) device->text();
    verification.required("images").amount();
    verification.required("source").text();
    for (const char* name : {"max_abs_diff", "top1_agreement", "tolerance"}) {
        verification.required(name).real();
    }
    for (const char* name : {"agreement", "mean_abs_diff"}) {
        if (const auto number = verification.nullable(name)) number->real();
    }
    if (const auto judged = verification.nullable("judgement")) read_judgement(*judged, newer);
    verification.required("latency_ms").real();
    verification.required("machine").text();
    verification.end();
}

void read_quantization(const Value& value, bool newer) {
    Fields quantization(value, newer);
    quantization.required("tool").text();
    quantization.required("calibration_images").amount();
    const Value bits = quantization.required("weight_bits");
    const Json& found = bits.json();
    const bool number = found.kind == Json::Kind::whole || found.kind == Json::Kind::real;
    if (found.kind == Json::Kind::whole && std::abs(found.number) > 9e18) {
        bits.refuse("it must be a whole number");
    }
    if (!number || (found.number != 7 && found.number != 8)) bits.refuse("it must be 7 or 8");
    quantization.required("agreement").share(0, 1, false);
    quantization.required("layers").amount();
    if (const auto kept = quantization.optional("kept_layers")) texts(*kept);
    quantization.required("kept_macs").share(0, 1);
    quantization.end();
}

/// A name without a folder, which means the same file on every system.
std::string plain_name(const Value& value) {
    std::string name = value.text();
    const bool apart = name.find_first_of("\\/:") != std::string::npos;
    if (apart || name.empty() || name == "." || name == ".." || !is_printable(name)) {
        value.refuse("artifact file " + repr(name) + " is not a plain file name");
    }
    if (lower(name) == "fleetnet.json") {
        value.refuse("artifact file " + repr(name) + " is the manifest itself");
    }
    return name;
}

ArtifactFile read_file(const Value& value, bool newer) {
    Fields fields(value, newer);
    ArtifactFile file;
    file.name = plain_name(fields.required("name"));
    const Value digest = fields.required("sha256");
    file.sha256 = digest.text();
    const bool hex = file.sha256.find_first_not_of("0123456789abcdef") == std::string::npos;
    if (!hex || file.sha256.size() != 64) {
        digest.refuse("it must be text of the form ^[0-9a-f]{64}$");
    }
    const Value bytes = fields.required("bytes");
    const std::string digits = bytes.amount();
    const std::string beyond = std::to_string(std::uint64_t{1} << 63);
    if (digits.size() > beyond.size() || (digits.size() == beyond.size() && digits >= beyond)) {
        bytes.refuse("it must be below " + beyond);
    }
    file.bytes = std::stoull(digits);
    fields.end();
    return file;
}

Artifact read_artifact(const Value& value, bool newer) {
    Fields fields(value, newer);
    Artifact artifact;
    artifact.format = fields.required("format").name();
    artifact.precision = "fp32";
    if (const auto precision = fields.optional("precision")) {
        artifact.precision.reset();
        if (!precision->json().is_null()) artifact.precision = precision->text();
    }
    if (const auto batch = fields.nullable("batch")) {
        const std::string digits = batch->amount();
        // No engine takes batches of a thousand million: such an artifact is never asked for.
        artifact.batch = digits.size() > 9 ? std::numeric_limits<int>::max() : std::stoi(digits);
    }
    const Value files = fields.required("files");
    files.each([&](const Value& file) { artifact.files.push_back(read_file(file, newer)); });
    if (artifact.files.empty()) {
        files.refuse_empty();
    }
    if (const auto records = fields.optional("verification")) {
        records->each([&](const Value& record) { read_verification(record, newer); });
    }
    if (const auto made = fields.nullable("quantization")) read_quantization(*made, newer);
    fields.end();
    return artifact;
}

void no_two_alike(const std::vector<Artifact>& artifacts) {
    std::set<std::tuple<std::string, std::optional<std::string>, std::optional<int>>> keys;
    std::set<std::string> names;
    for (const Artifact& artifact : artifacts) {
        if (!keys.emplace(artifact.format, artifact.precision, artifact.batch).second) {
            throw Wrong("two artifacts are " +
                        named(artifact.format, artifact.precision, artifact.batch));
        }
        for (const ArtifactFile& file : artifact.files) {
            // On some file systems, names that differ only in case are the same file.
            if (!names.insert(lower(file.name)).second) {
                throw Wrong("two artifacts are in the same file " + repr(file.name));
            }
        }
    }
}

std::string shown(const Shape& shape) {
    std::vector<std::string> sides;
    for (const auto& side : shape) sides.push_back(side.value_or("None"));
    return "(" + joined(sides, ", ") + (sides.size() == 1 ? ",)" : ")");
}

void check_shape(const Shape& shape, int crop) {
    const std::string side = std::to_string(crop);
    const bool fits = shape.size() == 4 && shape[1] == side && shape[2] == side && shape[3] == "3";
    if (fits && shape[0]) {
        throw Wrong("the graph takes only batches of " + *shape[0] +
                    ", for other runtimes: give the bundle, or its model.onnx");
    }
    if (!fits) {
        throw Wrong("input shape " + shown(shape) + " does not fit a crop of " + side);
    }
}

Manifest read(const Json& json, bool newer) {
    Fields fields(Value(json, ""), newer);
    Manifest manifest;
    std::string num_classes;
    fields.required("format");
    fields.required("format_version");
    read_model(fields.required("model"), newer, manifest, num_classes);
    const Value classes = fields.required("classes");
    manifest.classes = texts(classes);
    if (manifest.classes.empty()) {
        classes.refuse_empty();
    }
    manifest.preprocess = read_preprocess(fields.required("preprocess"));
    const Shape shape = read_tensor(fields.required("input"), newer);
    fields.required("outputs").each([&](const Value& output) { read_tensor(output, newer); });
    for (const char* name : {"metrics", "provenance"}) {
        if (const auto notes = fields.optional(name)) notes->settings();
    }
    std::vector<std::size_t> rows;
    if (const auto self_test = fields.nullable("self_test")) {
        rows = read_self_test(*self_test, newer);
    }
    if (const auto calibration = fields.nullable("calibration")) {
        manifest.temperature = read_calibration(*calibration, newer);
    }
    if (const auto rejection = fields.nullable("rejection")) {
        manifest.rejection = read_rejection(*rejection, newer);
    }
    if (const auto artifacts = fields.optional("artifacts")) {
        artifacts->each([&](const Value& artifact) {
            manifest.artifacts.push_back(read_artifact(artifact, newer));
        });
    }
    fields.end();

    const std::size_t size = manifest.classes.size();
    if (std::to_string(size) != num_classes) {
        throw Wrong(std::to_string(size) + " class names for " + num_classes + " classes");
    }
    check_shape(shape, manifest.preprocess.crop);
    if (std::any_of(rows.begin(), rows.end(), [&](std::size_t row) { return row != size; })) {
        throw Wrong("self_test has rows of another length than the classes");
    }
    if (manifest.rejection && manifest.activation != Activation::softmax) {
        throw Wrong("a rejection is for networks that give an image one class");
    }
    no_two_alike(manifest.artifacts);
    return manifest;
}

}  // namespace

std::string named(const std::string& format, const std::optional<std::string>& precision,
                  std::optional<int> batch) {
    const bool stored = precision && !precision->empty();
    return (stored ? format + " in " + *precision : format) +
           (batch ? " for batches of " + std::to_string(*batch) : "");
}

Manifest Manifest::parse(const std::string& text, const std::string& where) {
    Json json = Json::parse(text, where);
    const Json* format = json.is_object() ? json.find("format") : nullptr;
    if (!format || !format->is_text() || format->text != "fleetnet-bundle") {
        throw Error(Code::bundle, where + " is not a Fleetnet manifest");
    }
    try {
        if (deeper_than(json, kDeepest)) {
            throw Wrong("nested deeper than " + std::to_string(kDeepest));
        }
        const bool newer = to_current(json);
        return read(json, newer);
    } catch (const Wrong& wrong) {
        throw Error(Code::bundle, where + ": " + one_line(wrong.what()));
    }
}

}  // namespace fleetnet
