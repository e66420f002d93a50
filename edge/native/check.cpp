// Prints a checksum of what every instruction set of this processor computes: of products, and of a whole small model, by
// kind of weights. All lines of a kind, and those of another processor, must be equal: `c++ … check.cpp && ./check`.

#include <cstdio>
#include <cstring>
#include <string>

#include "parts.hpp"

using namespace sepiola;

namespace {

struct Random {
    uint64_t state = 88172645463325252ull;
    float next() {
        state ^= state << 13, state ^= state >> 7, state ^= state << 17;
        return static_cast<float>(static_cast<int64_t>(state >> 40)) / (1 << 23) - 1.0f;
    }
    std::vector<float> many(size_t count, float scale = 1) {
        std::vector<float> result(count);
        for (float& x : result) x = scale * next();
        return result;
    }
};

uint64_t checksum(const std::vector<float>& numbers) {
    uint64_t hash = 1469598103934665603ull;
    const auto* bytes = reinterpret_cast<const unsigned char*>(numbers.data());
    for (size_t i = 0; i < numbers.size() * 4; i++) hash = (hash ^ bytes[i]) * 1099511628211ull;
    return hash;
}

uint64_t products(const Kernels& k, const char* kind) {
    Random random;
    constexpr int rows = 37, columns = 150, tokens = 13;
    Matrix m{kind_of(kind), rows, columns, nullptr};
    std::vector<float> weights = random.many(rows * columns);
    std::vector<uint8_t> packed(m.bytes());
    pack(m, weights.data(), packed.data(), 0, m.panels());
    m.data = packed.data();
    long stride = m.width();
    std::vector<float> values(tokens * stride), scales(tokens * stride / GROUP), out(tokens * m.panels() * ROWS);
    std::vector<int8_t> bytes(tokens * stride);
    std::vector<int32_t> sums(tokens * stride / GROUP);
    for (int t = 0; t < tokens; t++) {
        for (int i = 0; i < columns; i++) values[t * stride + i] = random.next();
        k.quantise(&values[t * stride], int(stride), &bytes[t * stride], &scales[t * stride / GROUP],
                   &sums[t * stride / GROUP]);
    }
    Input input{values.data(), bytes.data(), scales.data(), sums.data(), stride};
    for (int p = 0; p < m.panels(); p++)
        k.multiply(m, p, input, 0, tokens, nullptr, out.data() + p * ROWS, long(m.panels()) * ROWS, false);
    return checksum(out);
}

// An encoder-decoder of every choice that has kernels of its own.
struct Small {
    Random random;
    std::vector<std::vector<uint8_t>> memory;
    Tensors tensors;
    Spec spec;

    void matrix(const std::string& name, const char* kind, int rows, int columns) {
        Matrix m{kind_of(kind), rows, columns, nullptr};
        std::vector<float> weights = random.many(size_t(rows) * columns, 0.4f);
        memory.emplace_back(m.bytes());
        pack(m, weights.data(), memory.back().data(), 0, m.panels());
        tensors[name] = {memory.back().data(), m.bytes(), std::string("packed ") + kind, rows, columns};
    }
    void numbers(const std::string& name, size_t count, float scale) {
        std::vector<float> values = random.many(count, scale);
        memory.emplace_back(count * 4);
        std::memcpy(memory.back().data(), values.data(), count * 4);
        tensors[name] = {memory.back().data(), count * 4, "f32", 0, 0};
    }
    void stack(const std::string& name, const char* kind, const StackSpec& s) {
        int width = spec.width, each = s.heads * s.head_width, shared = s.kv_heads * s.head_width;
        numbers(name + ".norm.weight", width, 1);
        numbers(name + ".rotary", s.head_width / 2, 0.5f);
        numbers(name + ".relative", size_t(s.heads) * 17, 1);
        for (int i = 0; i < s.layers; i++) {
            std::string at = name + "." + std::to_string(i) + ".";
            for (const char* norm : {"attention_norm", "feed_forward_norm", "cross_norm"})
                if (s.cross || norm[0] != 'c') numbers(at + norm + ".weight", width, 1.5f);
            for (const char* norm : {"q_norm", "k_norm"}) numbers(at + norm + ".weight", s.head_width, 1.5f);
            matrix(at + "qkv", kind, each + 2 * shared, width);
            numbers(at + "qkv.bias", each + 2 * shared, 0.3f);
            matrix(at + "out", kind, width, each);
            if (s.cross) {
                matrix(at + "cross_q", kind, each, width);
                matrix(at + "cross_kv", kind, 2 * shared, width);
                matrix(at + "cross_out", kind, width, each);
            }
            matrix(at + "gate", kind, s.inner, width);
            matrix(at + "up", kind, s.inner, width);
            matrix(at + "down", kind, width, s.inner);
        }
    }
};

uint64_t model(const Kernels& k, const char* kind, Activation activation) {
    Small small;
    Spec& spec = small.spec;
    spec.width = 52, spec.vocabulary = 70, spec.head_scale = 0.5f;
    StackSpec s;
    s.width = spec.width;
    s.layers = 2, s.heads = 4, s.kv_heads = 2, s.head_width = 18, s.inner = 40;
    s.scale = 0.25f, s.eps = 1e-5f, s.gated = true, s.cross = true, s.activation = activation;
    s.windows = {0, 3};
    spec.decoder = s;
    s.cross = false, s.causal = false, s.centred = true, s.windows = {0, 0};
    spec.encoder = s;
    small.matrix("embedding", kind, spec.vocabulary, spec.width);
    small.stack("decoder", kind, spec.decoder);
    small.stack("encoder", kind, *spec.encoder);
    Model made(spec, small.tensors, 2, k.name);
    std::vector<int32_t> source = {5, 6, 7, 8, 9, 10, 20, 21}, rows = {0, 0, 0, 0, 0, 0, 1, 1}, next = {1, 2, 3, 4, 30, 31};
    std::vector<int32_t> next_rows = {0, 0, 0, 0, 1, 1};
    std::vector<float> memory(source.size() * spec.width), states(next.size() * spec.width);
    made.encode(int(source.size()), source.data(), nullptr, rows.data(), memory.data());
    Batch batch = made.begin_from(2, int(source.size()), memory.data(), rows.data());
    made.extend(batch, int(next.size()), next.data(), nullptr, next_rows.data(), states.data());
    std::vector<int32_t> one = {40, 41}, one_rows = {0, 1};
    made.extend(batch, 2, one.data(), nullptr, one_rows.data(), states.data());
    std::vector<float> logits(next.size() * spec.vocabulary);
    made.logits(int(next.size()), states.data(), 0, nullptr, logits.data());
    logits.insert(logits.end(), memory.begin(), memory.end());
    return checksum(logits);
}

// A vision encoder and a bridge before a decoder: what the text reads of pictures.
uint64_t seeing(const Kernels& k, const char* kind) {
    Small small;
    Spec& spec = small.spec;
    spec.width = 36, spec.vocabulary = 20;
    StackSpec s;
    s.width = 20, s.length = 17, s.layers = 2, s.heads = 2, s.kv_heads = 2, s.head_width = 10, s.inner = 30;
    s.scale = 0.3f, s.eps = 1e-5f, s.centred = true, s.activation = Activation::quick_gelu, s.windows = {0, 0};
    auto stack = std::make_shared<Settings>(), vision = std::make_shared<Settings>(), bridge = std::make_shared<Settings>();
    for (auto [key, value] : std::map<std::string, long>{{"layers", 2}, {"heads", 2}, {"kv_heads", 2}, {"head_width", 10}, {"inner", 30}})
        stack->set(key, value);
    for (const char* key : {"causal", "cross", "gated"}) stack->set(key, false);
    for (auto [key, value] : std::map<std::string, double>{{"scale", 0.3}, {"eps", 1e-5}, {"amplitude", 1}, {"local_amplitude", 1}})
        stack->set(key, value);
    stack->set("centred", true), stack->set("place", std::string("pre"));
    stack->set("activation", std::string("quick_gelu")), stack->set("windows", std::vector<long>{0, 0});
    for (auto [key, value] : std::map<std::string, long>{{"size", 27}, {"patch", 6}, {"width", 20}}) vision->set(key, value);
    for (const char* key : {"class_token", "patch_features", "closes"}) vision->set(key, true);
    vision->set("kind", std::string("vit")), vision->set("stack", stack);
    for (auto [key, value] : std::map<std::string, long>{{"layers", 2}, {"patches", 16}, {"image_width", 20}, {"shuffle", 2}, {"neighbours", 1}})
        bridge->set(key, value);
    bridge->set("kind", std::string("projection")), bridge->set("activation", std::string("gelu"));
    spec.vision = vision, spec.bridge = bridge;
    spec.width = 20;
    small.stack("vision", kind, s);
    small.numbers("vision.positions", 17 * 20, 1), small.numbers("vision.class_token", 20, 1);
    small.matrix("vision.patch_embedding", kind, 20, 3 * 6 * 6);
    spec.width = 36;
    small.matrix("bridge.0", kind, 36, 80), small.matrix("bridge.1", kind, 36, 36), small.numbers("bridge.1.bias", 36, 1);
    s.width = 36, s.length = 0, s.gated = true;
    spec.decoder = s;
    small.matrix("embedding", kind, spec.vocabulary, spec.width);
    small.stack("decoder", kind, s);
    Model made(spec, small.tensors, 2, k.name);
    std::vector<float> pixels = small.random.many(2 * 3 * 27 * 27, 1), features(2 * 16 * 20), vectors(2 * 4 * 36);
    made.features(2, 27, 27, pixels.data(), features.data());
    made.vectors(2, 16, features.data(), vectors.data());
    vectors.insert(vectors.end(), features.begin(), features.end());
    return checksum(vectors);
}

// A decoder whose rows read a prompt of more than a page, go on from it, and part.
uint64_t chains(const Kernels& k, const char* kind) {
    Small small;
    Spec& spec = small.spec;
    spec.width = 52, spec.vocabulary = 70;
    StackSpec& s = spec.decoder;
    s.width = 52, s.layers = 2, s.heads = 6, s.kv_heads = 2, s.head_width = 18, s.inner = 40;
    s.scale = 0.25f, s.eps = 1e-5f, s.gated = true, s.activation = Activation::silu, s.windows = {0, 70};
    small.matrix("embedding", kind, spec.vocabulary, spec.width);
    small.stack("decoder", kind, s);
    Model made(spec, small.tensors, 2, k.name);
    std::vector<int32_t> prompts, places;
    for (int row = 0; row < 3; row++)
        for (int i = 0; i < 100 + row; i++) prompts.push_back(i < 90 ? i % 61 : (i + row) % 70), places.push_back(row);
    Batch batch = made.read(3, int(prompts.size()), prompts.data(), nullptr, places.data());
    made.select(batch, {0, 1, 1, 2, 2});
    made.rewind(batch, {0, 0, 3, 0, 40});
    std::vector<int32_t> next = {1, 2, 3, 4, 5}, rows = {0, 1, 2, 3, 4};
    std::vector<float> states(next.size() * spec.width), logits(next.size() * spec.vocabulary);
    for (int step = 0; step < 3; step++)
        made.extend(batch, int(next.size()), next.data(), nullptr, rows.data(), states.data());
    made.logits(int(next.size()), states.data(), 0, nullptr, logits.data());
    return checksum(logits);
}

}  // namespace

int main() {
    const char* names[] = {"relu", "gelu", "gelu_tanh", "quick_gelu", "silu", "squared_relu"};
    for (const Kernels* k : all_kernels())
        for (const char* kind : {"f32", "bf16", "int8", "int4"}) {
            std::printf("%s %s products %016llx\n", k->name, kind, static_cast<unsigned long long>(products(*k, kind)));
            std::printf("%s %s seeing %016llx\n", k->name, kind, static_cast<unsigned long long>(seeing(*k, kind)));
            std::printf("%s %s chains %016llx\n", k->name, kind, static_cast<unsigned long long>(chains(*k, kind)));
            for (int i = 0; i < 6; i++)
                std::printf("%s %s %s %016llx\n", k->name, kind, names[i],
                            static_cast<unsigned long long>(model(*k, kind, static_cast<Activation>(i + 1))));
        }
}
