import { createPublicKey, verify } from "node:crypto";

const DER_BEFORE_AN_ED25519_KEY = Buffer.from("302a300506032b6570032100", "hex");

// Whether `body`, a Buffer with the bytes as they came, was signed for `publicKey` in the last five minutes.
export function isGenuine(publicKey, headers, body) {
  const id = headers["webhook-id"] ?? "";
  const timestamp = headers["webhook-timestamp"] ?? "";
  if (!/^\d{1,12}$/.test(timestamp) || Math.abs(Date.now() / 1000 - Number(timestamp)) > 300) return false;
  const raw = Buffer.from(publicKey.replace(/^whpk_/, ""), "base64");
  const der = Buffer.concat([DER_BEFORE_AN_ED25519_KEY, raw]);
  const key = createPublicKey({ key: der, format: "der", type: "spki" });
  const signed = Buffer.concat([Buffer.from(`${id}.${timestamp}.`), body]);
  return (headers["webhook-signature"] ?? "").split(" ").some((each) => {
    const [version, signature] = each.split(",");
    return version === "v1a" && verify(null, signed, key, Buffer.from(signature ?? "", "base64"));
  });
}
