// Voice messages are Opus in Ogg; some browsers record Opus in WebM only. The packets are the
// same: they are taken out of the one container (RFC 8794, RFC 9559) and put into the other
// (RFC 3533, RFC 7845).
const MASTERS = new Set([0x18538067, 0x1654ae6b, 0xae, 0x1f43b675, 0xa0]); // Segment, Tracks, TrackEntry, Cluster, BlockGroup
const CODEC_PRIVATE = 0x63a2;
const BLOCKS = new Set([0xa3, 0xa1]); // SimpleBlock, Block
const LACING = 0x06;
const PAGE_PACKETS = 50; // a second
const FIRST = 2, LAST = 4;

// One number of a variable length: its value, and where it ends. *marked* keeps the length bit.
function number(bytes, at, marked) {
  const length = Math.clz32(bytes[at]) - 23;
  if (length > 8 || at + length > bytes.length) throw new Error("cut off");
  let value = marked ? bytes[at] : bytes[at] & (0xff >> length);
  for (let next = 1; next < length; next += 1) value = value * 256 + bytes[at + next];
  return [value, at + length];
}

// The head of the Opus stream and its packets.
function read(webm) {
  let head = null, at = 0;
  const packets = [];
  while (at < webm.length) {
    const [id, afterId] = number(webm, at, true);
    const [size, start] = number(webm, afterId, false);
    at = start;
    if (MASTERS.has(id)) continue; // what is in it comes next, whatever its size
    const end = start + size;
    if (end > webm.length) throw new Error("cut off");
    if (id === CODEC_PRIVATE) head = webm.subarray(start, end);
    if (BLOCKS.has(id)) {
      const [, afterTrack] = number(webm, start, false);
      if (webm[afterTrack + 2] & LACING) throw new Error("laced");
      packets.push(webm.subarray(afterTrack + 3, end));
    }
    at = end;
  }
  if (!head || !packets.length) throw new Error("nothing was recorded");
  return [head, packets];
}

// How many samples a packet holds (RFC 6716, section 3.1).
function samples(packet) {
  const config = packet[0] >> 3;
  const frame = config < 12 ? [480, 960, 1920, 2880][config & 3] : config < 16 ? [480, 960][config & 1] : [120, 240, 480, 960][config & 3];
  return frame * [1, 2, 2, packet[1] & 63][packet[0] & 3];
}

const CRC = Uint32Array.from({ length: 256 }, (_, index) => {
  let rest = index << 24;
  for (let bit = 0; bit < 8; bit += 1) rest = (rest << 1) ^ (rest < 0 ? 0x04c11db7 : 0);
  return rest;
});

function page(packets, granule, sequence, flags) {
  const lacing = packets.flatMap((packet) => [...Array(Math.floor(packet.length / 255)).fill(255), packet.length % 255]);
  const bytes = new Uint8Array(27 + lacing.length + packets.reduce((sum, packet) => sum + packet.length, 0));
  const view = new DataView(bytes.buffer);
  bytes.set([0x4f, 0x67, 0x67, 0x53, 0, flags]); // OggS
  view.setBigUint64(6, BigInt(granule), true);
  view.setUint32(14, 1, true);
  view.setUint32(18, sequence, true);
  bytes[26] = lacing.length;
  bytes.set(lacing, 27);
  let at = 27 + lacing.length;
  for (const packet of packets) { bytes.set(packet, at); at += packet.length; }
  view.setUint32(22, bytes.reduce((crc, byte) => (crc << 8) ^ CRC[(crc >>> 24) ^ byte], 0), true);
  return bytes;
}

// Opus in WebM as Opus in Ogg, in pieces.
export function oggOfWebm(webm) {
  const [head, packets] = read(webm);
  const comments = new TextEncoder().encode("OpusTags\x05\0\0\0larkd\0\0\0\0");
  const pages = [page([head], 0, 0, FIRST), page([comments], 0, 1, 0)];
  let granule = 0;
  for (let at = 0; at < packets.length; at += PAGE_PACKETS) {
    const some = packets.slice(at, at + PAGE_PACKETS);
    granule += some.reduce((sum, packet) => sum + samples(packet), 0);
    pages.push(page(some, granule, pages.length, at + PAGE_PACKETS < packets.length ? 0 : LAST));
  }
  return pages;
}
