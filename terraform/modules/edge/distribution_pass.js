import cf from 'cloudfront';
const passes = cf.kvs();

// Writes the distribution's pass into each request to the API (docs/decisions/0021). The API refuses requests of other
// distributions, which lack the pass.
async function handler(event) {
    const headers = event.request.headers;
    // A viewer must not choose the header, and may send the header twice.
    delete headers['x-distribution-pass'];
    try {
        headers['x-distribution-pass'] = { value: await passes.get('pass') };
    } catch (error) {
        // `get` also fails while `mjctl deploy` has not stored the first pass, and the API then requires no pass.
        console.log('no pass: ' + error);
    }
    return event.request;
}
