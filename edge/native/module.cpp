// The core as a Python module: packing, single products for tests, and models.

#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <cstring>

#include "parts.hpp"

namespace nb = nanobind;
using namespace nb::literals;
using namespace sepiola;

namespace {

using Bytes = nb::ndarray<const uint8_t, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
using Rows = nb::ndarray<const float, nb::ndim<2>, nb::c_contig, nb::device::cpu>;
using RowsOut = nb::ndarray<float, nb::ndim<2>, nb::c_contig, nb::device::cpu>;
using Ids = nb::ndarray<const int32_t, nb::ndim<1>, nb::c_contig, nb::device::cpu>;

struct Released {
    nb::gil_scoped_release released;
};

using Pixels = nb::ndarray<const float, nb::ndim<4>, nb::c_contig, nb::device::cpu>;
using Features = nb::ndarray<const float, nb::ndim<3>, nb::c_contig, nb::device::cpu>;

nb::object owned(float* data, size_t pictures, size_t rows, size_t columns) {
    nb::capsule owner(data, [](void* p) noexcept { delete[] static_cast<float*>(p); });
    return nb::cast(nb::ndarray<nb::numpy, float, nb::ndim<3>>(data, {pictures, rows, columns}, owner));
}

nb::object owned(float* data, size_t rows, size_t columns) {
    nb::capsule owner(data, [](void* p) noexcept { delete[] static_cast<float*>(p); });
    return nb::cast(nb::ndarray<nb::numpy, float, nb::ndim<2>>(data, {rows, columns}, owner));
}

void require(bool right, const std::string& message) {
    if (!right) throw std::invalid_argument(message);
}

Matrix matrix(const std::string& kind, long rows, long columns) {
    require(rows >= 1 && rows <= LARGEST && columns >= 1 && columns <= LARGEST, "a matrix has 1 to 2**24 rows and columns");
    return {kind_of(kind.c_str()), int(rows), int(columns), nullptr};
}

Matrix matrix(const Bytes& packed, const std::string& kind, long rows, long columns) {
    Matrix m = matrix(kind, rows, columns);
    require(packed.size() == m.bytes(), "the packed matrix has " + std::to_string(packed.size()) + " bytes; expected " +
                                            std::to_string(m.bytes()));
    m.data = packed.data();
    return m;
}

nb::object pack_rows(const Rows& weights, const std::string& kind) {
    Matrix m = matrix(kind, long(weights.shape(0)), long(weights.shape(1)));
    auto* out = new uint8_t[m.bytes()]();
    {
        Released released;
        Team team(processors());
        team.run([&](int thread) {
            team.each(thread, m.panels(), 16, [&](int first, int last) {
                pack(m, weights.data(), out, first, last);
            });
        });
    }
    nb::capsule owner(out, [](void* p) noexcept { delete[] static_cast<uint8_t*>(p); });
    return nb::cast(nb::ndarray<nb::numpy, uint8_t, nb::ndim<1>>(out, {m.bytes()}, owner));
}

nb::object unpack_rows(const Bytes& packed, const std::string& kind, long rows, long columns) {
    Matrix m = matrix(packed, kind, rows, columns);
    auto* out = new float[size_t(rows) * columns];
    for (long row = 0; row < rows; row++) unpack(m, int(row), out + row * columns);
    return owned(out, rows, columns);
}

// x `(tokens, columns)` times a packed matrix, `(tokens, rows)`.
nb::object product(const Bytes& packed, const std::string& kind, long rows, long columns, const Rows& x,
                   const std::string& name) {
    Matrix m = matrix(packed, kind, rows, columns);
    require(long(x.shape(1)) == columns, "x has " + std::to_string(x.shape(1)) + " columns; the matrix has " +
                                             std::to_string(columns));
    const Kernels& k = kernels(name.c_str());
    long tokens = long(x.shape(0)), stride = m.width();
    std::vector<float> values(tokens * stride), scales(tokens * stride / GROUP), wide(tokens * m.panels() * ROWS);
    std::vector<int8_t> bytes(tokens * stride);
    std::vector<int32_t> sums(tokens * stride / GROUP);
    for (long t = 0; t < tokens; t++) std::memcpy(&values[t * stride], x.data() + t * columns, columns * 4);
    Input input{values.data(), bytes.data(), scales.data(), sums.data(), stride};
    k.quantise_rows(input, 0, tokens);
    k.multiply(m, 0, m.panels(), input, 0, int(tokens), nullptr, wide.data(), long(m.panels()) * ROWS, false);
    auto* out = new float[size_t(tokens) * rows];
    for (long t = 0; t < tokens; t++) std::memcpy(out + t * rows, &wide[t * m.panels() * ROWS], rows * 4);
    return owned(out, tokens, rows);
}

// A spec as Python has it: a dict of numbers, words, lists of whole numbers, and such dicts.
std::shared_ptr<Settings> settings(const nb::dict& from, int depth = 0) {
    require(depth < 4, "the spec holds specs within specs within specs");
    auto result = std::make_shared<Settings>();
    for (auto item : from) {
        auto key = nb::cast<std::string>(item.first);
        nb::handle value = item.second;
        std::vector<long> wholes;
        if (nb::isinstance<nb::bool_>(value)) result->set(key, nb::cast<bool>(value));
        else if (long whole; nb::isinstance<nb::int_>(value) && nb::try_cast<long>(value, whole)) result->set(key, whole);
        else if (nb::isinstance<nb::float_>(value)) result->set(key, nb::cast<double>(value));
        else if (nb::isinstance<nb::str>(value)) result->set(key, nb::cast<std::string>(value));
        else if (nb::isinstance<nb::dict>(value)) result->set(key, settings(nb::cast<nb::dict>(value), depth + 1));
        else if (nb::try_cast<std::vector<long>>(value, wholes)) result->set(key, std::move(wholes));
        else throw std::invalid_argument("the spec's '" + key + "' is of another type");
    }
    return result;
}

// Rows of a batch, as Python holds them.
struct Held {
    std::shared_ptr<Model> model;
    Batch rows;

    std::vector<int> lengths() const {
        std::vector<int> result;
        for (const auto& row : rows) result.push_back(row->length());
        return result;
    }
    void select(const std::vector<int>& chosen) {
        Released released;
        model->select(rows, chosen);
    }
    void rewind(const std::vector<int>& counts) {
        Released released;
        model->rewind(rows, counts);
    }
};

// A picture, as Python holds it.
struct Shown {
    std::shared_ptr<const Picture> picture;
};

// Pictures of each of so many rows.
std::vector<Pictures> by_row(const std::vector<Shown>& shown, const std::vector<int>& rows, int count) {
    require(shown.size() == rows.size(), "pictures and rows are not as many");
    std::vector<Pictures> result(count);
    for (size_t i = 0; i < rows.size(); i++) {
        require(rows[i] >= 0 && rows[i] < count, "row " + std::to_string(rows[i]) + " is not in the batch");
        result[rows[i]].push_back(shown[i].picture);
    }
    return result;
}

// A model, as Python holds it.
struct Bound {
    Bound(const nb::dict& spec, const nb::dict& tensors, int threads, const std::string& kernels, bool mapped) {
        Tensors named;
        for (auto item : tensors) {
            auto value = nb::cast<nb::tuple>(item.second);
            auto kind = nb::cast<std::string>(value[0]);
            auto bytes = nb::cast<Bytes>(value[1]);
            Tensor tensor{bytes.data(), bytes.size(), kind, 0, 0};
            if (value.size() == 4) tensor.rows = nb::cast<int>(value[2]), tensor.columns = nb::cast<int>(value[3]);
            named[nb::cast<std::string>(item.first)] = tensor;
        }
        model = std::make_shared<Model>(model_spec(*settings(spec)), std::move(named), threads, kernels.c_str(), mapped);
    }

    int width() const { return model->spec().width; }
    void rows_of(const RowsOut& out, size_t count) const {
        require(out.shape(0) == count && long(out.shape(1)) == width(), "the states have another shape");
    }

    void extend(Held& held, const Ids& tokens, const Ids& rows, nb::object out) {
        require(tokens.size() == rows.size(), "tokens and rows are not as many");
        float* states = nullptr;
        if (!out.is_none()) {
            auto array = nb::cast<RowsOut>(out);
            rows_of(array, tokens.size());
            states = array.data();
        }
        Released released;
        model->extend(held.rows, int(tokens.size()), tokens.data(), nullptr, rows.data(), states);
    }
    void extend_vectors(Held& held, const Rows& vectors, const Ids& rows, nb::object out) {
        require(vectors.shape(0) == rows.size() && long(vectors.shape(1)) == width(), "the vectors have another shape");
        float* states = nullptr;
        if (!out.is_none()) {
            auto array = nb::cast<RowsOut>(out);
            rows_of(array, rows.size());
            states = array.data();
        }
        Released released;
        model->extend(held.rows, int(rows.size()), nullptr, vectors.data(), rows.data(), states);
    }
    void encode(const Ids& tokens, const Ids& rows, const RowsOut& out) {
        require(tokens.size() == rows.size(), "tokens and rows are not as many");
        rows_of(out, tokens.size());
        Released released;
        model->encode(int(tokens.size()), tokens.data(), nullptr, rows.data(), out.data());
    }
    void encode_vectors(const Rows& vectors, const Ids& rows, const RowsOut& out) {
        require(vectors.shape(0) == rows.size() && long(vectors.shape(1)) == width(), "the vectors have another shape");
        rows_of(out, rows.size());
        Released released;
        model->encode(int(rows.size()), nullptr, vectors.data(), rows.data(), out.data());
    }
    Held begin(int rows) {
        require(rows >= 0 && rows <= 1 << 20, "a batch has at most 2**20 rows");
        return {model, model->begin(rows)};
    }
    Held read(const Ids& tokens, const Ids& rows, int count, const std::vector<Shown>& pictures,
              const std::vector<int>& picture_rows) {
        require(tokens.size() == rows.size(), "tokens and rows are not as many");
        require(count >= 0 && count <= 1 << 20, "a batch has at most 2**20 rows");
        std::vector<Pictures> seen = by_row(pictures, picture_rows, count);
        Released released;
        return {model, model->read(count, int(tokens.size()), tokens.data(), nullptr, rows.data(), std::move(seen))};
    }
    void show(Held& held, const std::vector<Shown>& pictures, const std::vector<int>& rows) {
        std::vector<Pictures> seen = by_row(pictures, rows, int(held.rows.size()));
        Released released;
        model->show(held.rows, std::move(seen));
    }
    std::vector<Shown> look(const Features& features, int frames) {
        const Bridge* bridge = model->bridge();
        require(bridge && long(features.shape(2)) == bridge->image_width,
                "this model has no bridge that reads features of this width");
        require(features.shape(0) <= 1 << 16 && features.shape(1) <= 1 << 20, "there are too many features");
        Pictures made;
        {
            Released released;
            made = model->look(int(features.shape(0)), frames, int(features.shape(1)), features.data());
        }
        std::vector<Shown> result;
        for (auto& picture : made) result.push_back({std::move(picture)});
        return result;
    }
    Held read_vectors(const Rows& vectors, const Ids& rows, int count) {
        require(vectors.shape(0) == rows.size() && long(vectors.shape(1)) == width(), "the vectors have another shape");
        require(count >= 0 && count <= 1 << 20, "a batch has at most 2**20 rows");
        Released released;
        return {model, model->read(count, int(rows.size()), nullptr, vectors.data(), rows.data())};
    }
    Held begin_from(const Rows& memory, const Ids& rows, int count) {
        require(memory.shape(0) == rows.size() && long(memory.shape(1)) == width(), "the memory has another shape");
        require(count >= 0 && count <= 1 << 20, "a batch has at most 2**20 rows");
        Released released;
        return {model, model->begin_from(count, int(rows.size()), memory.data(), rows.data())};
    }
    void logits(const Rows& states, const RowsOut& out) {
        require(long(states.shape(1)) == width() && out.shape(0) == states.shape(0) &&
                    long(out.shape(1)) == model->spec().vocabulary, "states or logits have another shape");
        Released released;
        model->logits(int(states.shape(0)), states.data(), 0, nullptr, out.data());
    }
    void some_logits(const Rows& states, const Ids& tokens, const RowsOut& out) {
        require(long(states.shape(1)) == width() && out.shape(0) == states.shape(0) && out.shape(1) == tokens.size(),
                "states or logits have another shape");
        Released released;
        model->logits(int(states.shape(0)), states.data(), int(tokens.size()), tokens.data(), out.data());
    }
    void embed(const Ids& tokens, const RowsOut& out) {
        rows_of(out, tokens.size());
        Released released;
        model->embed(int(tokens.size()), tokens.data(), out.data());
    }
    nb::object features(const Pixels& pixels) {
        const Vision* vision = model->vision();
        require(vision, "this model has no vision encoder");
        require(pixels.shape(1) == 3 && pixels.shape(0) <= 1 << 16 && pixels.shape(2) <= 1 << 16 && pixels.shape(3) <= 1 << 16,
                "pixels are (pictures, 3, height, width)");
        auto out = std::make_unique<float[]>(pixels.shape(0) * vision->patches * vision->width);
        {
            Released released;
            model->features(int(pixels.shape(0)), int(pixels.shape(2)), int(pixels.shape(3)), pixels.data(), out.get());
        }
        return owned(out.release(), pixels.shape(0), vision->patches, vision->width);
    }
    nb::object vectors(const Features& features, nb::object tokens_, nb::object places_) {
        const Bridge* bridge = model->bridge();
        require(bridge, "this model has no bridge");
        require(long(features.shape(2)) == bridge->image_width,
                "features are " + std::to_string(features.shape(2)) + " wide; expected " +
                    std::to_string(bridge->image_width));
        require(features.shape(0) <= 1 << 16 && features.shape(1) <= size_t(LARGEST), "there are too many features");
        require(!bridge->instructed || !tokens_.is_none(), "this bridge reads an instruction beside each picture");
        Ids tokens, places;
        if (!tokens_.is_none()) tokens = nb::cast<Ids>(tokens_), places = nb::cast<Ids>(places_);
        require(tokens_.is_none() || tokens.size() == places.size(), "tokens and places are not as many");
        int count = tokens_.is_none() ? 0 : int(tokens.size());
        auto out = std::make_unique<float[]>(features.shape(0) * bridge->tokens * width());
        {
            Released released;
            model->vectors(int(features.shape(0)), int(features.shape(1)), features.data(), count,
                           count ? tokens.data() : nullptr, count ? places.data() : nullptr, out.get());
        }
        return owned(out.release(), features.shape(0), bridge->tokens, width());
    }
    void fuse(const Rows& states, const Ids& rows, const Rows& features, const Ids& feature_rows, const RowsOut& out) {
        const Bridge* bridge = model->bridge();
        require(bridge, "this model has no bridge");
        rows_of(out, rows.size());
        require(states.shape(0) == rows.size() && long(states.shape(1)) == width(), "the states have another shape");
        require(features.shape(0) == feature_rows.size() && long(features.shape(1)) == bridge->image_width,
                "the features have another shape");
        Released released;
        model->fuse(int(rows.size()), states.data(), rows.data(), int(feature_rows.size()), features.data(),
                    feature_rows.data(), out.data());
    }
    void stream() {
        Released released;
        model->stream();
    }

    std::shared_ptr<Model> model;
};

}  // namespace

NB_MODULE(_native, m) {
    m.doc() = "The native core: packed weights, kernels by instruction set, and transformers over them.";
    m.def("pack", &pack_rows, "weights"_a, "kind"_a, "Packs float32 weights (rows, columns) as f32, bf16, int8 or int4.");
    m.def("unpack", &unpack_rows, "packed"_a, "kind"_a, "rows"_a, "columns"_a, "The weights as they are after packing.");
    m.def("product", &product, "packed"_a, "kind"_a, "rows"_a, "columns"_a, "x"_a, "kernels"_a = "",
          "x (tokens, columns) times a packed matrix: (tokens, rows).");
    m.def("processors", &processors, "Processors that this process may use.");
    m.def("instruction_sets", [] {
        std::vector<std::string> names;
        for (const Kernels* k : all_kernels()) names.push_back(k->name);
        return names;
    }, "Kernels that this processor has, the best first.");

    nb::class_<Held>(m, "Batch", "Rows that have read their prompts.")
        .def_prop_ro("lengths", &Held::lengths)
        .def("select", &Held::select, "rows"_a)
        .def("rewind", &Held::rewind, "counts"_a);
    nb::class_<Shown>(m, "Picture", "A picture as layers between the decoder's own see it.");
    nb::class_<Bound>(m, "Model", "A transformer over packed weights.")
        .def(nb::init<const nb::dict&, const nb::dict&, int, const std::string&, bool>(), "spec"_a, "tensors"_a,
             "threads"_a = 0, "kernels"_a = "", "mapped"_a = false)
        .def_prop_ro("kernels", [](const Bound& b) { return b.model->kernels(); })
        .def_prop_ro("threads", [](const Bound& b) { return b.model->threads(); })
        .def_prop_ro("computed", [](const Bound& b) { return b.model->computed(); })
        .def_prop_ro("read_bytes", [](const Bound& b) { return b.model->read_bytes(); })
        .def("begin", &Bound::begin, "rows"_a)
        .def("read", &Bound::read, "tokens"_a, "rows"_a, "count"_a, "pictures"_a = std::vector<Shown>(),
             "picture_rows"_a = std::vector<int>())
        .def("look", &Bound::look, "features"_a, "frames"_a = 1,
             "Pictures of features (pictures, patches, image width), for layers between the decoder's own.")
        .def("show", &Bound::show, "batch"_a, "pictures"_a, "rows"_a, "Gives rows their pictures, before they read.")
        .def("read_vectors", &Bound::read_vectors, "vectors"_a, "rows"_a, "count"_a)
        .def("begin_from", &Bound::begin_from, "memory"_a, "rows"_a, "count"_a)
        .def("encode", &Bound::encode, "tokens"_a, "rows"_a, "out"_a)
        .def("encode_vectors", &Bound::encode_vectors, "vectors"_a, "rows"_a, "out"_a)
        .def("extend", &Bound::extend, "batch"_a, "tokens"_a, "rows"_a, "out"_a.none())
        .def("extend_vectors", &Bound::extend_vectors, "batch"_a, "vectors"_a, "rows"_a, "out"_a.none())
        .def("logits", &Bound::logits, "states"_a, "out"_a)
        .def("some_logits", &Bound::some_logits, "states"_a, "tokens"_a, "out"_a)
        .def("embed", &Bound::embed, "tokens"_a, "out"_a)
        .def("features", &Bound::features, "pixels"_a,
             "The vision encoder's (pictures, patches, image width) of pixels (pictures, 3, height, width).")
        .def("vectors", &Bound::vectors, "features"_a, "tokens"_a = nb::none(), "places"_a = nb::none(),
             "The bridge's (pictures, tokens, width) of features; an instructed one reads tokens beside the pictures.")
        .def("fuse", &Bound::fuse, "states"_a, "rows"_a, "features"_a, "feature_rows"_a, "out"_a,
             "States (tokens, width) of rows that have seen their features (patches, image width).")
        .def("stream", &Bound::stream);
}
