require "openssl"

DER_BEFORE_AN_ED25519_KEY = ["302a300506032b6570032100"].pack("H*")

# Whether body, the bytes as they came, was signed for public_key in the last five minutes.
def genuine?(public_key, headers, body)
  id = headers.fetch("webhook-id", "")
  timestamp = headers.fetch("webhook-timestamp", "")
  return false unless timestamp.match?(/\A\d{1,12}\z/) && (Time.now.to_i - timestamp.to_i).abs <= 300

  raw = public_key.delete_prefix("whpk_").unpack1("m")
  key = OpenSSL::PKey.read(DER_BEFORE_AN_ED25519_KEY + raw)
  signed = "#{id}.#{timestamp}.".b + body.b
  headers.fetch("webhook-signature", "").split.any? do |each|
    version, signature = each.split(",", 2)
    version == "v1a" && key.verify(nil, signature.to_s.unpack1("m"), signed)
  rescue OpenSSL::PKey::PKeyError
    false
  end
end
