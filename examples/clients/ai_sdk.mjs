// Vercel's AI SDK with its providers for xAI and for servers like OpenAI's, unchanged, asks voxpop: node ai_sdk.mjs http://127.0.0.1:8000/v1 KEY [WHAT…]
import { createOpenAICompatible } from '@ai-sdk/openai-compatible';
import { createXai } from '@ai-sdk/xai';
import { generateText, jsonSchema, Output, streamText, tool } from 'ai';

const [address, key, ...wanted] = process.argv.slice(2);
const xai = createXai({ baseURL: address, apiKey: key });
const compatible = createOpenAICompatible({ name: 'voxpop', baseURL: address, apiKey: key });
const asked = { model: xai.responses('voxpop'), prompt: 'Is the Vesper bridge closed?', maxRetries: 0 };
const cited = ({ text, sources }) => ({ text, sources: sources.map(source => source.url) });
const only = options => ({ tools: { x_search: xai.tools.xSearch(options) } });
const shape = { type: 'object', properties: { closed: { type: 'boolean' } }, required: ['closed'] };
const city = { type: 'object', properties: { city: { type: 'string' } }, required: ['city'] };
const weather = tool({ description: 'The weather of a city now', inputSchema: jsonSchema(city) });

const kinds = {
  plain: async () => cited(await generateText(asked)),
  stream: async () => {
    const made = streamText({ ...asked, ...only({}) });
    let text = '';
    for await (const piece of made.textStream) text += piece;
    return { text, sources: (await made.sources).map(source => source.url) };
  },
  search: async () => cited(await generateText({ ...asked, ...only({ allowedXHandles: ['ben.example'] }) })),
  dates: async () => cited(await generateText({ ...asked, ...only({ fromDate: '2001-01-01', toDate: '2001-01-02' }) })),
  tool: async () =>
    (await generateText({ ...asked, tools: { weather }, toolChoice: 'required' })).toolCalls.map(call => [
      call.toolName,
      call.input,
    ]),
  json: async () => (await generateText({ ...asked, output: Output.object({ schema: jsonSchema(shape) }) })).output,
  chat: async () => (await generateText({ ...asked, model: compatible.chatModel('voxpop') })).text,
  error: async () => await generateText({ ...asked, model: xai.responses('gpt-9') }),
};

const told = {};
for (const what of wanted.length ? wanted : ['plain', 'stream', 'search', 'dates', 'chat', 'error']) {
  try {
    told[what] = await kinds[what === 'limited' ? 'plain' : what]();
  } catch (error) {
    told[what] = { status: error.statusCode, message: error.message, after: error.responseHeaders?.['retry-after'] };
  }
}
console.log(JSON.stringify(told));
