#include "rows.hpp"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdio>

#include "text.hpp"
#include "words.hpp"

namespace fleetnet::command {

void Rows::add(const Prediction& prediction) {
    write(prediction);
    ++total_;
    failed_ += prediction.error.has_value();
}

namespace {

/// Characters that JSON allows but terminals act on, and those that UTF-8 cannot encode.
bool is_active(char32_t sign) {
    return (sign >= 0x7F && sign <= 0x9F) || sign == 0x61C || sign == 0x200E || sign == 0x200F ||
           (sign >= 0x2028 && sign <= 0x202E) || (sign >= 0x2066 && sign <= 0x2069) ||
           (sign >= 0xD800 && sign <= 0xDFFF);
}

/// Return `f"{number:.{decimals}f}"`.
std::string fixed(double number, int decimals) {
    if (std::isnan(number)) return "nan";  // which has no sign in Python
    char text[400];
    const auto end =
        std::to_chars(text, text + sizeof text, number, std::chars_format::fixed, decimals).ptr;
    return std::string(text, end);
}

/// Return a number as Python's JSON has it.
std::string number(double value) { return std::isnan(value) ? "NaN" : repr(value); }

/// Return a string as JSON, as fleetnet.files.json_text does.
std::string json(const std::string& bytes) {
    std::string text = "\"";
    for (const char32_t sign : text_of(bytes)) {
        switch (sign) {
            case U'"':
                text += "\\\"";
                break;
            case U'\\':
                text += "\\\\";
                break;
            case U'\n':
                text += "\\n";
                break;
            case U'\r':
                text += "\\r";
                break;
            case U'\t':
                text += "\\t";
                break;
            case U'\f':
                text += "\\f";
                break;
            case U'\b':
                text += "\\b";
                break;
            default:
                if (sign < 0x20 || is_active(sign)) {
                    char escape[8];
                    std::snprintf(escape, sizeof escape, "\\u%04x", static_cast<unsigned>(sign));
                    text += escape;
                } else {
                    text += bytes_of(Text(1, sign));
                }
        }
    }
    return text + "\"";
}

class JsonRows : public Rows {
   public:
    using Rows::Rows;

   protected:
    void write(const Prediction& prediction) override {
        std::string row = "{\"image\": " + json(prediction.source) + ", \"top\": [";
        bool first = true;
        for (const Score& score : prediction.top) {
            row += std::string(first ? "" : ", ") + "{\"class\": " + json(label(score)) +
                   ", \"index\": " + std::to_string(score.index) +
                   ", \"probability\": " + number(score.probability) + "}";
            first = false;
        }
        row += "]";
        if (prediction.score) {
            row += std::string(", \"rejected\": ") + (prediction.rejected ? "true" : "false") +
                   ", \"score\": " + number(*prediction.score);
        }
        row += ", \"error\": " + (prediction.error ? json(*prediction.error) : "null") + "}\n";
        output_.write(row);
        output_.flush();
    }
};

class CsvRows : public Rows {
   public:
    CsvRows(Output& output, const std::vector<std::string>& classes, int top_k, bool rejects)
        : Rows(output, classes),
          top_k_(top_k),
          rejects_(rejects),
          terminal_(is_terminal(Stream::output)) {}

    void begin() override {
        std::vector<std::string> cells = {"image"};
        for (int rank = 1; rank <= top_k_; ++rank) {
            cells.push_back("class_" + std::to_string(rank));
            cells.push_back("probability_" + std::to_string(rank));
        }
        if (rejects_) cells.insert(cells.end(), {"rejected", "score"});
        cells.push_back("error");
        write(cells);
    }

   protected:
    void write(const Prediction& prediction) override {
        std::vector<std::string> cells = {prediction.source};
        for (const Score& score : prediction.top) {
            cells.push_back(label(score));
            cells.push_back(fixed(score.probability, 6));
        }
        cells.resize(1 + 2 * static_cast<std::size_t>(top_k_));
        if (rejects_) {
            const bool scored = prediction.score.has_value();
            cells.push_back(!scored ? "" : prediction.rejected ? "true" : "false");
            cells.push_back(scored ? fixed(*prediction.score, 6) : "");
        }
        cells.push_back(prediction.error.value_or(""));
        write(cells);
    }

   private:
    void write(const std::vector<std::string>& cells) {
        std::string row = quoted_cell(cells.front());
        for (std::size_t place = 1; place < cells.size(); ++place) {
            row += "," + quoted_cell(cells[place]);
        }
        const Text text = text_of(row);
        output_.write(shown(terminal_ ? printable(text) : text) + "\n");
    }

    /// Quote a cell if a reader would take it apart otherwise.
    static std::string quoted_cell(const std::string& cell) {
        if (cell.find_first_of(",\"\r\n") == std::string::npos) return cell;
        std::string text = "\"";
        for (const char sign : cell) text += sign == '"' ? "\"\"" : std::string(1, sign);
        return text + "\"";
    }

    int top_k_;
    bool rejects_;
    bool terminal_;
};

class TableRows : public Rows {
   public:
    TableRows(Output& output, const std::vector<std::string>& classes, bool single)
        : Rows(output, classes), single_(single), width_(table_width()) {}

   protected:
    void write(const Prediction& prediction) override {
        const std::size_t name_width = static_cast<std::size_t>(std::max(16, width_ * 2 / 5));
        Text name = prediction.source == "-" ? Text(U"standard input")
                                             : printable(text_of(prediction.source));
        if (name.size() > name_width) name = U"…" + name.substr(name.size() + 1 - name_width);
        const std::size_t column = single_ ? name.size() : name_width;
        const long room = width_ - static_cast<long>(column) - 2;
        const std::vector<Text> lines =
            prediction.error ? std::vector{printable(text_of("error: " + *prediction.error))}
                             : answer(prediction, room);
        std::string rows;
        for (const Text& line : lines) {
            name.resize(column, U' ');
            rows += bytes_of(name) + "  " + bytes_of(line) + "\n";
            name.clear();
        }
        output_.write(rows);
    }

   private:
    /// Return as many classes as fit in a line; of a single image all, in several lines.
    std::vector<Text> answer(const Prediction& prediction, long room) const {
        if (!prediction.rejected) return classes_of(prediction, room);
        // First, because it says that the rest is not to be relied on.
        Text head = U"rejected: ";
        auto lines = classes_of(prediction, room - static_cast<long>(head.size()));
        for (Text& line : lines) {
            line = head + line;
            head = Text(head.size(), U' ');
        }
        return lines;
    }

    std::vector<Text> classes_of(const Prediction& prediction, long room) const {
        std::vector<Text> words;
        for (const Score& score : prediction.top) {
            const auto columns = static_cast<std::size_t>(std::max(room - 7, 8L));
            words.push_back(shorten(text_of(label(score)), columns) +
                            text_of(" " + fixed(score.probability * 100, 1) + "%"));
        }
        if (fits(joined(words), room)) return {joined(words)};
        if (single_) return words;
        bool cut = false;
        while (words.size() > 1 && !fits(joined(words) + U"  …", room)) {
            words.pop_back();
            cut = true;
        }
        return {cut ? joined(words) + U"  …" : joined(words)};
    }

    static bool fits(const Text& line, long room) {
        return static_cast<long>(cell_length(line)) <= room;
    }

    static Text joined(const std::vector<Text>& words) {
        Text line;
        for (const Text& word : words) line += (line.empty() ? U"" : U"  ") + word;
        return line;
    }

    bool single_;
    int width_;
};

}  // namespace

std::unique_ptr<Rows> json_rows(Output& output, const std::vector<std::string>& classes) {
    return std::make_unique<JsonRows>(output, classes);
}

std::unique_ptr<Rows> csv_rows(Output& output, const std::vector<std::string>& classes, int top_k,
                               bool rejects) {
    return std::make_unique<CsvRows>(output, classes, top_k, rejects);
}

std::unique_ptr<Rows> table_rows(Output& output, const std::vector<std::string>& classes,
                                 bool single) {
    return std::make_unique<TableRows>(output, classes, single);
}

}  // namespace fleetnet::command
