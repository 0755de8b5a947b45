#include "bundle/versions.hpp"

#include <algorithm>
#include <map>
#include <optional>

#include "bundle/schema.hpp"

namespace fleetnet {
namespace {

/// The versions that are written today, without a rejection and with one. Readers of a major
/// version may ignore unknown fields; those of 2.x would ignore a rejection, and so refuse it.
constexpr const char* kVersion = "2.1";
constexpr const char* kRejecting = "3.0";

struct Stored {
    const char* format;
    const char* precision;  ///< nullptr for what is no network
};

/// Artifact names of version 1, with the format and precision that they stand for.
const std::map<std::string, Stored>& named() {
    static const std::map<std::string, Stored> names = {
        {"onnx", {"onnx", "fp32"}},
        {"weights", {"safetensors", "fp32"}},
        {"trained-images", {"trained-images", nullptr}},
        {"onnx-int8", {"onnx", "int8"}},
        {"openvino-int8", {"openvino-ir", "int8"}},
    };
    return names;
}

/// The artifact of version 1 that is now the second file of another one.
constexpr const char* kFirst = "openvino-int8";
constexpr const char* kSecond = "openvino-int8-weights";

/// Whether `digits` is a number of at most `most` digits without a zero before it.
bool is_number(const std::string& digits, std::size_t most) {
    const bool plain = digits.find_first_not_of("0123456789") == std::string::npos;
    return plain && !digits.empty() && digits.size() <= most && digits[0] != '0';
}

/// The minor version if the major one is ours.
std::optional<std::string> minor_of(const Json& version) {
    const bool ours =
        version.is_text() && (version.text.rfind("2.", 0) == 0 || version.text.rfind("3.", 0) == 0);
    if (!ours) return std::nullopt;
    const std::string minor = version.text.substr(2);
    return minor == "0" || is_number(minor, 6) ? std::optional(minor) : std::nullopt;
}

bool is_version_1(const Json* version) {
    if (!version) return true;
    const bool number = version->kind == Json::Kind::whole || version->kind == Json::Kind::real;
    return number && version->number == 1;
}

/// One of an artifact's files, made of an artifact of version 1.
Json file_of(const Json& entry) {
    const char* const names[][2] = {{"file", "name"}, {"sha256", "sha256"}, {"bytes", "bytes"}};
    Json file = Json::object();
    for (const auto& name : names) {
        if (const Json* value = entry.find(name[0])) file.set(name[1], *value);
    }
    return file;
}

/// One artifact of today, made of one or two of version 1.
Json artifact_of(const std::string& name, const Json& entry, const Json* second) {
    Json made = entry;
    for (const char* field : {"name", "file", "sha256", "bytes"}) made.remove(field);
    const Json* precision = entry.find("precision");
    if (precision && precision->is_text() && precision->text == "none") made.set("precision", {});
    if (const auto known = named().find(name); known != named().end()) {
        const Stored& stored = known->second;
        made.set("format", Json::of_text(stored.format));
        made.set("precision", stored.precision ? Json::of_text(stored.precision) : Json());
    }
    const std::string batch = "onnx-batch";
    if (name.rfind(batch, 0) == 0 && is_number(name.substr(batch.size()), 4)) {
        made.set("batch", Json::of_whole(name.substr(batch.size())));
    }
    std::vector<Json> files = {file_of(entry)};
    if (second) files.push_back(file_of(*second));
    made.set("files", Json::of_list(std::move(files)));
    return made;
}

/// The artifacts of version 1, where each had a name and one file, in today's form.
Json artifacts_of(const Json& entries) {
    const bool objects =
        entries.is_list() && std::all_of(entries.items.begin(), entries.items.end(),
                                         [](const Json& e) { return e.is_object(); });
    if (!objects) throw Wrong("artifacts must be a list of objects");
    std::map<std::string, const Json*> by_name;
    for (const Json& entry : entries.items) {
        const Json* name = entry.find("name");
        if (!name || !name->is_text()) throw Wrong("an artifact has no name");
        if (!by_name.emplace(name->text, &entry).second) {
            throw Wrong("two artifacts have the same name");
        }
    }
    const auto second = by_name.find(kSecond);
    std::vector<Json> made;
    for (const Json& entry : entries.items) {
        const std::string& name = entry.find("name")->text;
        if (name == kSecond && by_name.count(kFirst)) continue;
        const bool two = name == kFirst && second != by_name.end();
        made.push_back(artifact_of(name, entry, two ? second->second : nullptr));
    }
    return Json::of_list(std::move(made));
}

}  // namespace

bool to_current(Json& manifest) {
    const Json* version = manifest.find("format_version");
    const Json* rejection = manifest.find("rejection");
    const bool rejects = rejection && !rejection->is_null();
    if (is_version_1(version)) {
        if (rejects)
            throw Wrong(std::string("a rejection is of version ") + kRejecting + ", not of 1");
        const Json* entries = manifest.find("artifacts");
        manifest.set("artifacts", artifacts_of(entries ? *entries : Json::of_list({})));
        manifest.set("format_version", Json::of_text(kVersion));
        return false;
    }
    const auto minor = minor_of(*version);
    if (!minor) {
        const std::string shown = repr(*version);
        throw Wrong("format version " + (shown.size() <= 20 ? shown : "unknown") +
                    ", but this fleetnet reads versions 1, 2.x and 3.x; update fleetnet");
    }
    const bool second = version->text[0] == '2';
    if (rejects && second) {
        throw Wrong(std::string("a rejection is of version ") + kRejecting + ", not of " +
                    version->text);
    }
    manifest.set("format_version", Json::of_text(rejects ? kRejecting : kVersion));
    return *minor != "0" && !(second && *minor == "1");
}

}  // namespace fleetnet
