// CLI11 was tried here and takes an argument in brackets apart, which for us is a glob.
#include "arguments.hpp"

#include <algorithm>
#include <climits>
#include <deque>

#include "close_matches.hpp"
#include "text.hpp"

namespace fleetnet::command {

namespace {

constexpr const char* try_help = " (try 'fleetnet-predict --help')";
constexpr std::size_t longest_value = 60;  // signs of a value that are shown

struct Option {
    const char* name;
    char letter;
    bool takes_value;
};

constexpr Option options[] = {
    {"--top-k", 'k', true}, {"--engine", 0, true},  {"--precision", 0, true},
    {"--threads", 0, true}, {"--device", 0, true},  {"--batch-size", 0, true},
    {"--exact", 0, false},  {"--labels", 0, true},  {"--reject", 0, true},
    {"--json", 0, false},   {"--csv", 0, false},    {"--help", 'h', false},
    {"--version", 0, false},
};

/// An option as it was given, in the order of the first time; the last value counts.
struct Given {
    const Option* option;
    Text value;
};

class Parser {
   public:
    explicit Parser(const std::vector<std::string>& words) {
        for (const std::string& word : words) left_.push_back(text_of(word));
    }

    void run() {
        while (!left_.empty()) {
            const Text word = take();
            if (word == U"--") break;
            if (word.size() > 1 && word[0] == U'-') {
                option(word);
            } else {
                plain_.push_back(bytes_of(word));
            }
        }
        for (const Text& word : left_) plain_.push_back(bytes_of(word));
    }

    const std::vector<Given>& given() const { return given_; }
    const std::vector<std::string>& plain() const { return plain_; }

   private:
    Text take() {
        Text word = std::move(left_.front());
        left_.pop_front();
        return word;
    }

    void option(const Text& word) {
        const std::size_t equals = word.find(U'=');
        const Text name = word.substr(0, equals);
        for (const Option& known : options) {
            if (name != text_of(known.name)) continue;
            if (equals != Text::npos) {
                if (!known.takes_value) {
                    throw UsageError("Option '" + std::string(known.name) +
                                     "' does not take a value.");
                }
                left_.push_front(word.substr(equals + 1));
            }
            keep(known, known.name);
            return;
        }
        if (word[1] == U'-') throw no_such_option(name, /*suggest=*/true);
        letters(word);
    }

    /// Read letters that share a dash: -k3, or -hk 3.
    void letters(const Text& word) {
        for (std::size_t place = 1; place < word.size(); ++place) {
            const auto* known =
                std::find_if(std::begin(options), std::end(options), [&](const Option& one) {
                    return one.letter != 0 && static_cast<char32_t>(one.letter) == word[place];
                });
            if (known == std::end(options)) {
                throw no_such_option(Text(U"-") + word[place], /*suggest=*/false);
            }
            const bool rest = known->takes_value && place + 1 < word.size();
            if (rest) left_.push_front(word.substr(place + 1));
            keep(*known, std::string("-") + known->letter);
            if (rest) return;
        }
    }

    void keep(const Option& option, const std::string& name) {
        if (option.takes_value && left_.empty()) {
            throw UsageError("Option '" + name + "' requires an argument.");
        }
        Text value = option.takes_value ? take() : Text();
        for (Given& before : given_) {
            if (before.option == &option) {
                before.value = std::move(value);
                return;
            }
        }
        given_.push_back({&option, std::move(value)});
    }

    static UsageError no_such_option(const Text& name, bool suggest) {
        Text safe;
        for (const char32_t sign : name) {
            const bool control = sign < 0x20 || (sign >= 0x7F && sign < 0xA0);
            static constexpr char digits[] = "0123456789abcdef";
            if (control) {
                safe += U"\\x";
                safe += static_cast<char32_t>(digits[sign >> 4]);
                safe += static_cast<char32_t>(digits[sign & 15]);
            } else {
                safe += sign;
            }
        }
        std::string message = "No such option: " + bytes_of(safe);
        std::vector<std::string> names;
        for (const Option& known : options) names.emplace_back(known.name);
        auto close = suggest ? close_matches(name, names, 3, 0.6) : std::vector<std::string>();
        std::sort(close.begin(), close.end());
        for (std::size_t place = 0; place < close.size(); ++place) {
            message += (place == 0 ? " (Possible options: " : ", ") + close[place];
        }
        return UsageError(message + (close.empty() ? "" : ")") + try_help);
    }

    std::deque<Text> left_;
    std::vector<Given> given_;
    std::vector<std::string> plain_;
};

[[noreturn]] void refuse(const Option& option, const std::string& what, const Text& value) {
    std::string hint = "'" + std::string(option.name) + "'";
    if (option.letter != 0) hint += std::string(" / '-") + option.letter + "'";
    Text shown = quoted(value);
    if (shown.size() > longest_value) shown = shown.substr(0, longest_value) + U"…";
    throw UsageError("Invalid value for " + hint + ": it must be " + what + ", not " +
                     bytes_of(shown) + try_help);
}

/// Return a whole number as Python reads it, ` +1_000 ` or `3.0` too; what is too large is the
/// largest.
std::optional<int> whole_number(const Text& value) {
    std::size_t begin = 0;
    std::size_t end = value.size();
    while (begin < end && is_space(value[begin])) ++begin;
    while (end > begin && is_space(value[end - 1])) --end;
    const bool negative = begin < end && value[begin] == U'-';
    if (begin < end && (value[begin] == U'-' || value[begin] == U'+')) ++begin;
    const std::size_t point = std::min(value.find(U'.', begin), end);
    if (point < end && (point + 1 == end || value.find_first_not_of(U'0', point + 1) < end)) {
        return std::nullopt;
    }
    long long number = 0;
    bool digit_before = false;
    for (std::size_t place = begin; place < point; ++place) {
        const char32_t sign = value[place];
        const bool digit = sign >= U'0' && sign <= U'9';
        if (!digit && !(sign == U'_' && digit_before)) return std::nullopt;
        if (digit) number = std::min<long long>(number * 10 + (sign - U'0'), INT_MAX);
        digit_before = digit;
    }
    if (!digit_before) return std::nullopt;
    return static_cast<int>(negative ? -number : number);
}

int number_of(const Given& given, int least, int most) {
    const std::optional<int> number = whole_number(given.value);
    if (!number) refuse(*given.option, "a whole number", given.value);
    if (*number < least) {
        refuse(*given.option, "at least " + std::to_string(least), given.value);
    }
    if (*number > most) {
        refuse(*given.option, "at most " + std::to_string(most), given.value);
    }
    return *number;
}

void set(Arguments& arguments, const Given& given) {
    const std::string name = given.option->name;
    const std::string value = bytes_of(given.value);
    if (name == "--top-k") arguments.top_k = number_of(given, 1, INT_MAX);
    if (name == "--threads") arguments.threads = number_of(given, 1, INT_MAX);
    if (name == "--batch-size") arguments.batch_size = number_of(given, 1, 4096);
    if (name == "--engine") arguments.engine = value;
    if (name == "--precision") arguments.precision = value;
    if (name == "--device") arguments.device = value;
    if (name == "--labels") arguments.labels = value;
    if (name == "--reject") arguments.reject = value;
    if (name == "--exact") arguments.exact = true;
    if (name == "--json") arguments.json = true;
    if (name == "--csv") arguments.csv = true;
}

}  // namespace

Arguments Arguments::parse(const std::vector<std::string>& words) {
    Parser parser(words);
    parser.run();
    Arguments arguments;
    for (const Given& given : parser.given()) {
        const std::string name = given.option->name;
        if (name == "--help") arguments.help = true;
        if (name == "--version") arguments.version = true;
        if (arguments.help || arguments.version) return arguments;
    }
    for (const Given& given : parser.given()) set(arguments, given);
    const std::vector<std::string>& plain = parser.plain();
    if (plain.empty()) throw UsageError(std::string("Missing argument 'BUNDLE'.") + try_help);
    if (plain.size() < 2) throw UsageError(std::string("Missing argument 'IMAGES'.") + try_help);
    arguments.bundle = plain.front();
    arguments.images.assign(plain.begin() + 1, plain.end());
    return arguments;
}

const char* const help =
    R"(Usage: fleetnet-predict [OPTIONS] BUNDLE IMAGES...

  Classify images.

  One image is answered as soon as can be; of several as many a second as can
  be, in order, the next ones being read meanwhile. An image or folder that
  cannot be read gets a row that says why, the others their answers; the exit
  code is then 1.

Arguments:
  BUNDLE              A bundle's folder, or an .onnx file that 'fleetnet export'
                      wrote.  [required]
  IMAGES              Files, folders, globs; '-' reads one image from standard
                      input.  [required]

Options:
  -k, --top-k NUMBER     Classes to name.  [default: 5; x>=1]
  --engine ENGINE        openvino or onnxruntime, where this build has it.
                         [openvino]
  --precision PRECISION  fp32, bf16, fp16 or int8, where the engine offers it.
                         [fp32]
  --threads NUMBER       Threads to compute with.  [all]  [x>=1]
  --device DEVICE        cpu, gpu, npu or another, as the engine's runtime finds
                         and names it here.  [cpu]
  --batch-size NUMBER    Images the engine gets at once.  [1; of several 4 with
                         fewer bits than fp32]  [1<=x<=4096]
  --exact                Decode large JPEGs whole: slower, to the last bit.
  --labels PATH          Names of the classes: one a line, or 'id name'.
  --reject THRESHOLD|off
                         Reject by another threshold of the bundle's score, or
                         nothing.
  --json                 An object a line.
  --csv                  A header and a row an image.
  --version              Say the versions of this program and its runtimes, and
                         the formats that it reads.
  -h, --help             Show this message and exit.
)";

}  // namespace fleetnet::command
