// fleetnet-predict: what is in these images? Says and prints what `fleetnet predict` does.
#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <new>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "arguments.hpp"
#include "bundle/bundle.hpp"
#include "classifier.hpp"
#include "engines/engine.hpp"
#include "error.hpp"
#include "find_images.hpp"
#include "interruption.hpp"
#include "labels.hpp"
#include "pipeline.hpp"
#include "rows.hpp"
#include "streams.hpp"
#include "text.hpp"
#include "words.hpp"

#ifdef _WIN32
#include <windows.h>
// after it
#include <shellapi.h>
#endif
#ifdef __GLIBC__
#include <malloc.h>
#endif

namespace fleetnet::command {

namespace {

constexpr int done = 0, done_with_failures = 1, bad_input = 2;
constexpr int low_precision_batch = 4;  // as in fleetnet.inference.classifier

void print_version(Output& output) {
    output.write(std::string("fleetnet-predict ") + FLEETNET_VERSION + "\n");
    for (const EngineKind& kind : engines()) {
        const std::string version = kind.version ? kind.version() : "";
        output.write("engine " + kind.name + ": " + (version.empty() ? "not found" : version) +
                     "\n");
    }
    std::string names;
    for (const std::string& name : formats()) names += (names.empty() ? "" : ", ") + name;
    output.write("formats: " + names + "\n");
}

const std::string off = "off";  // rejects nothing, in place of a threshold

/// Return a number as Python's float() reads it, ` +1_000.5 ` too; none if it is not finite.
std::optional<double> threshold_of(const std::string& value) {
    const Text text = text_of(value);
    std::size_t begin = 0;
    std::size_t end = text.size();
    while (begin < end && is_space(text[begin])) ++begin;
    while (end > begin && is_space(text[end - 1])) --end;
    const auto is_digit = [&](std::size_t place) {
        return place < end && text[place] >= U'0' && text[place] <= U'9';
    };
    std::string plain;
    for (std::size_t place = begin; place < end; ++place) {
        // What remains is neither a word, such as nan, nor hexadecimal, which Python refuses.
        static const Text signs = U"0123456789.eE+-_";
        if (signs.find(text[place]) == Text::npos) return std::nullopt;
        if (text[place] != U'_') {
            plain += static_cast<char>(text[place]);
        } else if (place == begin || !is_digit(place - 1) || !is_digit(place + 1)) {
            return std::nullopt;
        }
    }
    char* read = nullptr;
    const double number = std::strtod(plain.c_str(), &read);
    if (plain.empty() || *read != 0 || !std::isfinite(number)) return std::nullopt;
    return number;
}

/// Refuse, before data are read, what cannot be meant.
void check(const Arguments& arguments) {
    if (arguments.json && arguments.csv) {
        throw Error(Code::argument, "--json and --csv exclude each other: choose one");
    }
    if (arguments.reject && *arguments.reject != off && !threshold_of(*arguments.reject)) {
        throw Error(Code::argument, "--reject is " + bytes_of(quoted(text_of(*arguments.reject))) +
                                        "; it must be a threshold or '" + off + "'");
    }
    std::vector<std::string> names;
    for (const EngineKind& kind : engines()) names.push_back(kind.name);
    if (arguments.engine) check_known("engine", *arguments.engine, names);
    if (arguments.precision) {
        check_known("precision", *arguments.precision, {"fp32", "bf16", "fp16", "int8"});
    }
}

/// The images in their order; the first two are found beforehand, to know whether there are more.
class Images {
   public:
    Images(const std::vector<std::string>& patterns, LeftOut& left_out)
        : finder_(patterns, left_out) {
        for (int count = 0; count < 2; ++count) {
            if (std::optional<std::string> path = finder_.next()) first_.push_back(*path);
        }
    }

    bool single() const { return first_.size() < 2; }

    std::optional<std::string> next() {
        return place_ < first_.size() ? first_[place_++] : finder_.next();
    }

   private:
    ImageFinder finder_;
    std::vector<std::string> first_;
    std::size_t place_ = 0;
};

ClassifierOptions options_of(const Arguments& arguments, bool throughput) {
    ClassifierOptions options;
    options.engine = arguments.engine.value_or("");
    options.setup.precision = arguments.precision.value_or("fp32");
    options.setup.device = arguments.device.value_or("cpu");
    options.setup.threads = arguments.threads.value_or(0);
    options.setup.throughput = throughput;
    options.exact = arguments.exact;
    options.reject = arguments.reject != off;
    if (arguments.reject && options.reject) options.threshold = threshold_of(*arguments.reject);
    return options;
}

int classify(const Arguments& arguments, Output& output) {
    check(arguments);
    Bundle bundle = Bundle::load(arguments.bundle);
    std::vector<std::string> labels;
    if (arguments.labels) {
        labels = read_labels(*arguments.labels, bundle.manifest().classes.size());
    }
    LeftOut left_out;
    Images images(arguments.images, left_out);
    // Only one thread reads standard input.
    const bool reads_input =
        std::find(arguments.images.begin(), arguments.images.end(), "-") != arguments.images.end();
    const bool throughput = !images.single() && !reads_input;
    ClassifierOptions options = options_of(arguments, throughput);
    options.labels = std::move(labels);
    const bool few_bits = options.setup.precision != "fp32";
    const Classifier classifier(std::move(bundle), std::move(options));

    PipelineOptions pipeline;
    pipeline.top_k = static_cast<int>(
        std::min(static_cast<std::size_t>(arguments.top_k), classifier.classes().size()));
    pipeline.batch_size =
        arguments.batch_size.value_or(throughput && few_bits ? low_precision_batch : 1);
    pipeline.workers = throughput ? classifier.engine().threads() : 0;
    const auto& classes = classifier.classes();
    const std::unique_ptr<Rows> rows =
        arguments.json ? json_rows(output, classes)
        : arguments.csv
            ? csv_rows(output, classes, pipeline.top_k, classifier.rejection().has_value())
            : table_rows(output, classes, images.single());
    rows->begin();
    predict(
        classifier, pipeline, [&] { return images.next(); },
        [&](const Prediction& prediction) { rows->add(prediction); });
    if (!left_out.line().empty()) warn("left out: " + left_out.line());
    if (rows->failed() == 0) return done;
    say(std::to_string(rows->failed()) + " of " + count(rows->total(), "image") +
        " could not be read");
    return done_with_failures;
}

int run(const std::vector<std::string>& words, Output& output) {
    const Arguments arguments = Arguments::parse(words);
    if (arguments.help) {
        output.write(help);
        return done;
    }
    if (arguments.version) {
        print_version(output);
        return done;
    }
    return classify(arguments, output);
}

/// Run the command and return its exit code: 0 done, 1 done with failures, 2 bad input.
int guarded(const std::vector<std::string>& words, Output& output) {
    const auto fail = [&](const std::string& line) {
        say_error(line);
        output.flush();
        return bad_input;
    };
    try {
        try {
            const int code = run(words, output);
            output.flush();
            return code;
        } catch (const UsageError& error) {
            return fail(error.what());
        } catch (const Error& error) {
            return fail(error.what());
        } catch (const std::bad_alloc&) {
            return fail("out of memory");
        } catch (const std::exception& error) {
            return fail(error.what());
        }
    } catch (const WriteFailure& failure) {
        if (failure.closed()) return done;
        say_error(std::strerror(failure.reason));
        return bad_input;
    }
}

/// Let all threads take memory from one heap.
///
/// By default, glibc gives each thread its own, which keeps the room of the largest picture that
/// the thread had, though the others could use it: a fifth of all memory. A picture takes
/// milliseconds and few requests for memory, so that nobody waits. Only a program may decide this,
/// no library.
void share_one_heap() {
#ifdef __GLIBC__
    mallopt(M_ARENA_MAX, 1);
#endif
}

int main_of(const std::vector<std::string>& words) {
    share_one_heap();
    set_up_streams();
    // It has to be there as long as the thread that awaits signals.
    static Output output;
    end_when_interrupted(output);
    return guarded(words, output);
}

}  // namespace

}  // namespace fleetnet::command

#ifdef _WIN32
namespace {

std::string utf8_of(const wchar_t* wide) {
    const int size = WideCharToMultiByte(CP_UTF8, 0, wide, -1, nullptr, 0, nullptr, nullptr);
    if (size <= 1) return "";
    std::string text(static_cast<std::size_t>(size), '\0');
    WideCharToMultiByte(CP_UTF8, 0, wide, -1, text.data(), size, nullptr, nullptr);
    text.pop_back();
    return text;
}

}  // namespace

int main() {
    int count = 0;
    // main's own arguments are in the code page, which has not all characters.
    wchar_t** wide = CommandLineToArgvW(GetCommandLineW(), &count);
    std::vector<std::string> words;
    for (int place = 1; place < count; ++place) words.push_back(utf8_of(wide[place]));
    LocalFree(wide);
    return fleetnet::command::main_of(words);
}
#else
int main(int count, char** words) {
    return fleetnet::command::main_of({words + std::min(count, 1), words + count});
}
#endif
