// OpenAI's Node client, unmodified: OPENAI_BASE_URL and OPENAI_API_KEY say where. Name the parts to run, or none.
import OpenAI from "openai";

const client = new OpenAI({ maxRetries: 0 });
const QUESTION = [{ role: "user", content: "Did a ballot box burn in Dornick?" }];
const object = (properties) => ({
  type: "object", properties, required: Object.keys(properties), additionalProperties: false,
});
const WEATHER = {
  type: "function",
  function: { name: "weather", description: "The weather in a city", parameters: object({ city: { type: "string" } }) },
};
const SHAPE = object({ city: { type: "string" }, degrees: { type: "integer" } });

const ask = (more = {}) => client.chat.completions.create({ model: "voxpop", messages: QUESTION, ...more });

const parts = {
  async plain() {
    return (await ask()).choices[0].message.content;
  },

  async stream() {
    let said = "";
    for await (const chunk of await ask({ stream: true })) said += chunk.choices[0]?.delta?.content ?? "";
    return said;
  },

  async tool() {
    const messages = [{ role: "user", content: "Hello" }];
    const { message } = (await ask({ messages, tools: [WEATHER] })).choices[0];
    const [call] = message.tool_calls;
    messages.push(message, { role: "tool", tool_call_id: call.id, content: "12 degrees" });
    const answer = await ask({ messages, tools: [WEATHER] });
    return [call.function.name, JSON.parse(call.function.arguments), answer.choices[0].message.content];
  },

  async shape() {
    const format = { type: "json_schema", json_schema: { name: "weather", strict: true, schema: SHAPE } };
    const answer = await ask({ messages: [{ role: "user", content: "Hello" }], response_format: format });
    return JSON.parse(answer.choices[0].message.content);
  },

  async search() {
    const bounded = (bounds) => ask({ search_parameters: { mode: "on", ...bounds } });
    const titles = (answer) => answer.choices[0].message.annotations.map((note) => note.url_citation.title);
    const free = await bounded({});
    const handle = titles(free)[0].split(",")[0];
    const mine = await bounded({ sources: [{ type: "x", included_x_handles: [handle] }] });
    const others = await bounded({ sources: [{ type: "x", excluded_x_handles: [handle] }] });
    const early = await bounded({ to_date: "2001-01-01" });
    return {
      citations: free.citations, handle, mine: titles(mine), others: titles(others), early: early.citations,
    };
  },

  async error() {
    try {
      await ask({ model: "no-such-model" });
    } catch (error) {
      if (error instanceof OpenAI.NotFoundError) return [error.status, error.code];
      throw error;
    }
  },

  async limit() {
    try {
      for (let n = 0; n < 2; n += 1) await ask(); // the tier of the key lets one through
    } catch (error) {
      if (error instanceof OpenAI.RateLimitError) return [error.status, Number(error.headers.get("retry-after")) > 0];
      throw error;
    }
  },
};

for (const name of process.argv.length > 2 ? process.argv.slice(2) : Object.keys(parts)) {
  console.log(name, JSON.stringify(await parts[name]()));
}
